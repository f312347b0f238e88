"""A planner as a GGUF file: the same tokens, the same plans, whole or not there."""

import json
import subprocess
import sys
from copy import deepcopy

import gguf
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, normalizers
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import Split
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import BpeTrainer
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)

from tinyagent_helpers import quantize
from tinyagent_helpers.artifacts import DATA, InputError, read_jsonl
from tinyagent_helpers.gguf_file import Unconvertible
from tinyagent_helpers.models import CHAT_OPTIONS, LlamaCppModel
from tinyagent_helpers.quantize import HARD, TYPES, export
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
    with torch.inference_mode():
        wanted = tiny[0](torch.tensor([ids])).logits[0, -1].numpy()
    assert np.abs(made.decoder.read(ids)[0] - wanted).max() < 0.01


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


def shape(kind, tiny, **changes):
    """A configuration of another kind with the tiny one's sizes."""
    kept = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "max_position_embeddings")
    sizes = {name: getattr(tiny[0].config, name) for name in (*kept, "vocab_size", "eos_token_id", "pad_token_id")}
    return kind(**sizes | {"num_key_value_heads": 1, "head_dim": 32} | changes)


LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
HUB = {
    "Qwen2": (Qwen2Config, {}),
    "Qwen3": (Qwen3Config, {"tie_word_embeddings": True}),
    "Llama 3.1": (LlamaConfig, {"rope_scaling": LLAMA3 | {"original_max_position_embeddings": 64}}),
    "stretched": (LlamaConfig, {"rope_scaling": {"rope_type": "linear", "factor": 4.0}}),
}


@pytest.mark.parametrize("name", HUB)
def test_models_of_the_hub_compute_the_same(name, tiny, tmp_path):
    kind, changes = HUB[name]
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(shape(kind, tiny, **changes)).eval()
    with torch.no_grad():
        for parameter, weight in model.named_parameters():
            weight *= 12 if "_proj.weight" in parameter else 1
            if parameter.endswith("bias") or "_norm" in parameter:
                weight += torch.randn_like(weight) / 4
    made = export(model, tiny[1], tmp_path / "x.gguf", "F16")
    ids = made.ids(" ".join(PROMPTS) * 4)
    with torch.inference_mode():
        wanted = model(torch.tensor([ids])).logits[0, -20:].numpy()
    assert len(ids) > 128 and np.abs(made.decoder.read(ids, 20) - wanted).max() < 0.02 * np.abs(wanted).max()


@pytest.fixture(scope="module")
def sentencepiece():
    """A tokenizer in TinyLlama's layout: spaces as marks, bytes for what it does not know, a first token of its own."""
    made = Tokenizer(BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.pre_tokenizer = Split("▁", "merged_with_next")
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    texts = [row["request"] for row in read_jsonl(DATA / "handwritten" / "dev.jsonl")]
    made.train_from_iterator(texts, BpeTrainer(vocab_size=900, special_tokens=special, show_progress=False))
    whole = json.loads(made.to_str())
    whole["pre_tokenizer"], whole["added_tokens"] = None, whole["added_tokens"][:3]
    made = Tokenizer.from_str(json.dumps(whole))
    made.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )


def test_a_sentencepiece_vocabulary_reads_alike_first_token_included(sentencepiece, tiny, tmp_path):
    config = shape(LlamaConfig, tiny, vocab_size=len(sentencepiece), eos_token_id=2, pad_token_id=2, bos_token_id=1)
    made = export(LlamaForCausalLM(config), sentencepiece, tmp_path / "x.gguf", "F16")
    for text in [*PROMPTS, HARD, " leading", "two  spaces", "\n\nline", "a</s>b"]:
        assert made.ids(text) == sentencepiece(text)["input_ids"], text
        assert made.ids(text)[0] == 1 and made.tokens(text) == made.ids(text)[1:]


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


def test_a_killed_conversion_leaves_no_file_and_the_next_one_cleans_up(tiny, tmp_path):
    tiny[0].save_pretrained(tmp_path / "model")
    tiny[1].save_pretrained(tmp_path / "model")
    code = (
        "import os; from pathlib import Path; from tinyagent_helpers import quantize;"
        "from transformers import AutoModelForCausalLM as M, AutoTokenizer as T; quantize._quantize = lambda *_: os._exit(9);"
        f"folder = {str(tmp_path / 'model')!r}; parts = M.from_pretrained(folder), T.from_pretrained(folder);"
        f"quantize.export(*parts, Path({str(tmp_path / 'made' / 'x.gguf')!r}), 'Q8_0')"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 9
    assert not (tmp_path / "made" / "x.gguf").exists()
    export(*tiny, tmp_path / "made" / "x.gguf", "Q8_0")
    assert [file.name for file in (tmp_path / "made").iterdir()] == ["x.gguf"]


def test_a_file_that_reads_other_tokens_is_not_kept(tiny, tmp_path, monkeypatch):
    right = gguf.GGUFWriter.add_token_merges
    monkeypatch.setattr(gguf.GGUFWriter, "add_token_merges", lambda writer, merges: right(writer, merges[::-1]))
    with pytest.raises(InputError, match="reads other tokens"):
        export(*tiny, tmp_path / "planner.gguf", "F16")
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_converted_or_read_is_said(tiny, tmp_path):
    for config, match in (
        (GPT2Config(n_embd=32, n_layer=1, n_head=2), "this is a gpt2"),
        (shape(LlamaConfig, tiny, attention_bias=True), "with biases"),
        (shape(LlamaConfig, tiny, rope_scaling={"rope_type": "dynamic", "factor": 2.0}), "the rule dynamic"),
        (shape(Qwen2Config, tiny, use_sliding_window=True), "sliding window"),
        (shape(LlamaConfig, tiny, vocab_size=64), "the tokenizer has 700 tokens"),
    ):
        with pytest.raises(Unconvertible, match=match):
            export(AutoModelForCausalLM.from_config(config), tiny[1], tmp_path / "x.gguf", "F16")
        assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="there is no type 'Q1'"):
        export(*tiny, tmp_path / "x.gguf", "Q1")
    with pytest.raises(InputError, match="there is no file"):
        LlamaCppModel(tmp_path / "x.gguf")
    (tmp_path / "cut.gguf").write_bytes(b"GGUF\x03")
    with pytest.raises(InputError, match="cannot read"):
        LlamaCppModel(tmp_path / "cut.gguf")
