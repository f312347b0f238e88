"""A planner as a GGUF file: the same tokens, the same plans, whole or not there."""

from copy import deepcopy

import gguf
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from transformers import LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

from tinyagent_helpers import quantize
from tinyagent_helpers.artifacts import InputError
from tinyagent_helpers.models import CHAT_OPTIONS, LlamaCppModel
from tinyagent_helpers.quantize import TYPES, Unconvertible, export
from tinyagent_helpers.transformers_model import TransformersModel

PROMPTS = ["Text Sid that I am late", "Open the note\n\nlease 2024", "x", "E-mail 지훈 “naïve” 🙂 $1"]


@pytest.fixture(scope="module")
def tiny(tiny):
    """The untrained Llama, but with heads that look at something, so that their order matters."""
    model = deepcopy(tiny[0])
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "_proj" in name:
                weight *= 12
    return model, tiny[1]


@pytest.fixture(scope="module")
def made(tiny, tmp_path_factory):
    return export(*tiny, tmp_path_factory.mktemp("gguf") / "tiny.gguf", "F16", "abc")


def test_it_reads_and_writes_what_transformers_does(tiny, made):
    model = TransformersModel(*tiny, name="tiny")
    assert made.template == "abc" and made.name == "tiny" and made.context == model.context
    assert [made.ids(prompt) for prompt in PROMPTS] == [model.ids(prompt) for prompt in PROMPTS]
    assert made.complete(PROMPTS, 12) == model.complete(PROMPTS, 12)
    assert made.complete(PROMPTS, 12) == ["".join(made.stream(prompt, 12)) for prompt in PROMPTS]
    ids = model.ids(PROMPTS[0])
    made._llama.reset()
    made._llama.eval(ids)
    with torch.inference_mode():
        wanted = tiny[0](torch.tensor([ids])).logits[0, -1].numpy()
    assert np.abs(made._llama._ctx.get_logits_ith(-1)[: len(wanted)] - wanted).max() < 0.01


@given(st.text(max_size=60) | st.text("a1 \n'$\"é.", max_size=30))
@hypothesis_settings(max_examples=200)
def test_any_text_is_cut_into_the_same_tokens(tiny, made, text):
    text = text.replace("\0", "").encode(errors="ignore").decode()
    assert made.ids(text) == tiny[1](text)["input_ids"]


def test_a_chat_model_gets_the_prompt_through_its_template(tiny, tmp_path):
    tokenizer = deepcopy(tiny[1])
    tokenizer.chat_template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ eos_token }}{% endfor %}{% if enable_thinking %}hm{% endif %}>"
    chat = export(tiny[0], tokenizer, tmp_path / "chat.gguf", "F16")
    assert chat.ids("Go") == TransformersModel(tiny[0], tokenizer, name="chat").ids("Go") and CHAT_OPTIONS
    assert chat.template == ""


def test_fewer_bits_make_smaller_files(tiny, tmp_path):
    torch.manual_seed(0)
    config = tiny[0].config
    wide = LlamaForCausalLM(type(config)(**config.to_dict() | {"hidden_size": 256, "intermediate_size": 256}))
    sizes = {}
    for kind in TYPES:
        export(wide, tiny[1], tmp_path / f"{kind}.gguf", kind)
        sizes[kind] = (tmp_path / f"{kind}.gguf").stat().st_size
    assert sizes["F16"] > sizes["Q8_0"] > sizes["Q4_K_M"] >= sizes["Q4_0"]
    assert {path.suffix for path in tmp_path.iterdir()} == {".gguf"}


def test_what_fails_leaves_the_older_file_and_no_half_of_a_new_one(tiny, tmp_path, monkeypatch):
    path = tmp_path / "planner.gguf"
    path.write_bytes(b"older")
    monkeypatch.setattr(quantize, "_quantize", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export(*tiny, path, "Q8_0")
    assert [file.name for file in tmp_path.iterdir()] == ["planner.gguf"] and path.read_bytes() == b"older"


def test_a_file_that_reads_other_tokens_is_not_kept(tiny, tmp_path, monkeypatch):
    right = gguf.GGUFWriter.add_token_merges
    monkeypatch.setattr(gguf.GGUFWriter, "add_token_merges", lambda writer, merges: right(writer, merges[::-1]))
    with pytest.raises(InputError, match="reads other tokens"):
        export(*tiny, tmp_path / "planner.gguf", "F16")
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_converted_or_read_is_said(tiny, tmp_path):
    config = Qwen3Config(
        vocab_size=64, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2
    )
    with pytest.raises(Unconvertible, match="this is a qwen3"):
        export(Qwen3ForCausalLM(config), tiny[1], tmp_path / "x.gguf", "F16")
    biased = LlamaForCausalLM(type(tiny[0].config)(**tiny[0].config.to_dict() | {"attention_bias": True}))
    with pytest.raises(Unconvertible, match="with biases"):
        export(biased, tiny[1], tmp_path / "x.gguf", "F16")
    with pytest.raises(InputError, match="there is no type 'Q1'"):
        export(*tiny, tmp_path / "x.gguf", "Q1")
    with pytest.raises(InputError, match="there is no file"):
        LlamaCppModel(tmp_path / "x.gguf")
    (tmp_path / "cut.gguf").write_bytes(b"GGUF\x03")
    with pytest.raises(InputError, match="cannot read"):
        LlamaCppModel(tmp_path / "cut.gguf")
