"""A planner's GGUF file in other people's programs: what Ollama and LM Studio have to be told. See notebook 07.

Both run llama.cpp and speak OpenAI's protocol. Left to their defaults, they may wrap a prompt in a chat format that the planner
has never seen, cut it to a few thousand tokens, and choose among tokens by chance.
"""

from pathlib import Path

from tinyagent_helpers.artifacts import write_text
from tinyagent_helpers.models import MAX_NEW_TOKENS, LlamaCppModel
from tinyagent_helpers.plans import END_OF_PLAN

MARK = "PLACE OF THE PROMPT"


def modelfile(model: LlamaCppModel, path: Path) -> str:
    """Ollama's description of a planner: the file, how a prompt is put to it, and how it writes (greedily).

    The template is what the planner was trained on: the prompt as it is or, for a chat model, as its own chat template wraps it.
    """
    before, after = model.rendered(MARK).split(MARK)
    parameters = {
        "temperature": 0,
        "repeat_penalty": 1.0,
        "num_ctx": model.context,
        "num_predict": MAX_NEW_TOKENS,
        "stop": f'"{END_OF_PLAN}"',
    }
    template = before.removeprefix(model.start) + "{{ .Prompt }}" + after  # Ollama begins every text with that itself
    lines = [f"FROM ./{path.name}", f'TEMPLATE """{template}"""']
    return "\n".join(lines + [f"PARAMETER {name} {value}" for name, value in parameters.items()]) + "\n"


def write_modelfile(path: Path) -> Path:
    """Write a Modelfile beside a GGUF file; `ollama create NAME -f FILE.Modelfile` reads it.

    Raises:
        InputError: the GGUF file cannot be read.
    """
    target = path.with_suffix(".Modelfile")
    write_text(target, modelfile(LlamaCppModel(path), path))
    return target


def lm_studio(path: Path) -> str:
    """What to do in LM Studio, step by step."""
    return "\n".join(
        [
            f"1. In a terminal: lms import --copy {path.name}",
            "2. My Models, the gear beside it, Prompt Template, Jinja: {{ messages[-1]['content'] }}",
            f"   (only for a file without a chat template of its own); stop string {END_OF_PLAN}",
            "3. Inference: temperature 0, repeat penalty 1; load it with its whole context length",
            "4. Developer, Start Server; then: tinyagent ask --server http://127.0.0.1:1234/v1 --model NAME ...",
        ]
    )
