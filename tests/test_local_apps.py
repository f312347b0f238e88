"""What Ollama and LM Studio are told: the Modelfile, read back as they read it, gives the model the very text it was trained on."""

import re

import pytest

from tinyagent_helpers.local_apps import lm_studio, modelfile, write_modelfile
from tinyagent_helpers.models import NANO_PLANNER, NANO_PLANNER_Q4, LlamaCppModel
from tinyagent_helpers.quantize import export

PROMPT = 'Write a plan for the request: ...\nQuestion: Say "hi" to {{ .Prompt }}\nPlan:\n'


def read_modelfile(text):
    source = re.search(r"^FROM (.+)$", text, re.M).group(1)
    template = re.search(r'^TEMPLATE """(.*?)"""$', text, re.M | re.S).group(1)
    parameters = dict(re.findall(r"^PARAMETER (\w+) (.+)$", text, re.M))
    return source, template, parameters


def test_the_shipped_planner_is_shown_the_prompt_as_it_is():
    model = LlamaCppModel(NANO_PLANNER_Q4)
    source, template, parameters = read_modelfile(modelfile(model, NANO_PLANNER_Q4))
    assert source == "./planner-Q4_0.gguf"
    assert template.replace("{{ .Prompt }}", PROMPT, 1) == model.rendered(PROMPT) == PROMPT
    assert parameters == {
        "temperature": "0",
        "repeat_penalty": "1.0",
        "num_ctx": str(model.context),
        "num_predict": "300",
        "stop": '"<END_OF_PLAN>"',
    }


@pytest.mark.parametrize("bos", ["", "<s>"])
def test_a_chat_models_own_template_is_written_out(tiny, tmp_path, bos):
    model, tokenizer = tiny
    chat = "{{ bos_token }}{% for m in messages %}### Instruction:\n{{ m['content'] }}\n### Response:\n{% endfor %}"
    kept, tokenizer.chat_template = tokenizer.chat_template, chat
    try:
        export(model, tokenizer, tmp_path / "chat.gguf", "F16", "")
    finally:
        tokenizer.chat_template = kept
    planner = LlamaCppModel(tmp_path / "chat.gguf")
    _, template, _ = read_modelfile(write_modelfile(tmp_path / "chat.gguf").read_text())
    assert template == "### Instruction:\n{{ .Prompt }}\n### Response:\n"
    assert planner.start + template.replace("{{ .Prompt }}", PROMPT, 1) == planner.rendered(PROMPT)


def test_lm_studio_is_told_the_same():
    steps = lm_studio(NANO_PLANNER)
    assert all(word in steps for word in ("planner.gguf", "messages[-1]", "<END_OF_PLAN>", "repeat penalty 1"))
