"""Planners for llama.cpp: a model's weights and tokenizer as one GGUF file, in 16 bits or fewer."""

import json
import logging
import os
from collections.abc import Iterator
from ctypes import byref
from pathlib import Path
from typing import Any

import gguf
import llama_cpp
import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tinyagent_helpers.artifacts import InputError, make_folder
from tinyagent_helpers.models import TEMPLATE_KEY, LanguageModel, LlamaCppModel
from tinyagent_helpers.transformers_model import TransformersModel

logging.getLogger("llama-cpp-python").setLevel(logging.ERROR)  # else it lists every tensor
TYPES = {
    "F16": llama_cpp.LLAMA_FTYPE_MOSTLY_F16,
    "Q8_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0,
    "Q4_K_M": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_K_M,
    "Q4_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0,
}
# How text is cut before byte pairs are merged: llama.cpp has these rules built in, by name, and reads no others. They differ
# in how many digits stay together.
CUTS = {r"\p{N}{1,3}": "llama-bpe", r"\p{N}": "qwen2"}
HARD = "Whatever the calendar reminds you of. Text  Sid\tO'Neil: “naïve” 東京 🙂\n\n\n12345 $1 x=[\"a\", 'b']  \n I'm 3.50€ <END_OF_PLAN>"


class Unconvertible(InputError):
    """A model of a kind that is not written as GGUF here."""


def export(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, path: Path, kind: str, template: str = ""
) -> LlamaCppModel:
    """Write a planner as a GGUF file of a kind in `TYPES`, and load it again. The file holds the hash of the prompt template it
    was trained on. It is there whole or not at all.

    Raises:
        InputError: the model is of a kind that is not known here (`Unconvertible`), or what was written does not read text alike.
    """
    if kind not in TYPES:
        raise InputError(f"there is no type {kind!r}; choose one of {', '.join(TYPES)}")
    make_folder(path.parent)
    whole, part = path.with_name(path.name + ".f16"), path.with_name(path.name + ".part")
    try:
        write_gguf(model, tokenizer, whole, path.stem, template)
        if kind == "F16":
            whole.replace(part)
        else:
            _quantize(whole, part, kind)
        check_tokens(LlamaCppModel(part), tokenizer)
        part.replace(path)
    finally:
        whole.unlink(missing_ok=True)
        part.unlink(missing_ok=True)
    return LlamaCppModel(path)


def quick(model: TransformersModel, path: Path) -> LanguageModel:
    """The same model as llama.cpp runs it in 16 bits, from a file at `path`: on a CPU that takes half the time, and the plans are
    the same. On a GPU, or if it cannot be written for llama.cpp, the model itself."""
    if model.model.device.type != "cpu":
        return model
    try:
        return export(model.model, model.tokenizer, path, "F16", model.template)
    except Unconvertible:
        return model


def check_tokens(made: LlamaCppModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """See that a GGUF file cuts a hard text into the tokens that its tokenizer does.

    Raises:
        InputError: it does not.
    """
    right = tokenizer(HARD, add_special_tokens=False)["input_ids"]
    if (found := made.tokens(HARD)) != right:
        raise InputError(f"the GGUF file reads other tokens than its tokenizer: {found} for {right}")


def write_gguf(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, path: Path, name: str, template: str
) -> None:
    """Write weights in 16 bits, vectors in 32, and the tokenizer, in the layout that llama.cpp reads.

    Raises:
        Unconvertible: it is not a Llama with a byte-level BPE.
    """
    config = model.config
    if config.model_type != "llama":
        raise Unconvertible(f"only models of the kind llama are converted, and this is a {config.model_type}")
    if config.attention_bias or config.mlp_bias or config.rope_parameters["rope_type"] != "default":
        raise Unconvertible("a Llama with biases or with stretched positions is not converted")
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(name)
    writer.add_string(TEMPLATE_KEY, template)
    writer.add_file_type(TYPES["F16"])
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_vocab_size(config.vocab_size)
    _add_vocabulary(writer, tokenizer, config.vocab_size)
    for tensor, values in _tensors(model):
        writer.add_tensor(tensor, values.astype(np.float16 if values.ndim == 2 else np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _tensors(model: PreTrainedModel) -> Iterator[tuple[str, np.ndarray]]:
    """The weights under llama.cpp's names. It turns neighbours of a query by one angle, where transformers turns the halves of
    a head: rows of queries and keys are put in that order."""
    config = model.config
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for name, weight in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        values = weight.float().cpu().numpy()
        if count := heads.get(name.split(".")[-2]):
            values = values.reshape(count, 2, -1, values.shape[1]).swapaxes(1, 2).reshape(values.shape)
        yield names.get_name(name, try_suffixes=(".weight",)), values


def _add_vocabulary(writer: gguf.GGUFWriter, tokenizer: PreTrainedTokenizerBase, size: int) -> None:
    """Tokens, merges, the rule for cutting text, and which token ends a text."""
    whole = json.loads(tokenizer.backend_tokenizer.to_str())
    cuts = [part["pattern"].get("Regex", "") for part in _cutters(whole["pre_tokenizer"]) if part["type"] == "Split"]
    rules = [rule for digits, rule in CUTS.items() if any(f"|{digits}|" in cut for cut in cuts)]
    if whole["model"]["type"] != "BPE" or not rules:
        raise Unconvertible("only byte-level BPE tokenizers that cut text as Llama 3 or Qwen 2 do are converted")
    tokens, kinds = [f"[unused{i}]" for i in range(size)], [gguf.TokenType.UNUSED] * size
    for token, number in tokenizer.get_vocab().items():
        tokens[number], kinds[number] = token, gguf.TokenType.NORMAL
    for token in whole["added_tokens"]:
        kinds[token["id"]] = gguf.TokenType.CONTROL if token["special"] else gguf.TokenType.USER_DEFINED
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(rules[0])
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(
        [merge if isinstance(merge, str) else " ".join(merge) for merge in whole["model"]["merges"]]
    )
    begins = tokenizer("x")["input_ids"][0] == tokenizer.bos_token_id
    writer.add_add_bos_token(begins)
    if begins:
        writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    if tokenizer.pad_token_id is not None:
        writer.add_pad_token_id(tokenizer.pad_token_id)
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.chat_template)


def _cutters(pre_tokenizer: dict[str, Any]) -> list[dict[str, Any]]:
    return pre_tokenizer.get("pretokenizers", [pre_tokenizer])


def _quantize(source: Path, target: Path, kind: str) -> None:
    """Let llama.cpp write a GGUF file again with fewer bits."""
    options = llama_cpp.llama_model_quantize_default_params()
    options.ftype, options.nthread = TYPES[kind], os.cpu_count() or 1
    if llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), byref(options)):
        raise InputError(f"llama.cpp cannot write {target} as {kind}")
