"""A model's weights and tokenizer in the layout that llama.cpp reads: GGUF, in 16 bits.

Known are Llama (TinyLlama is one), Qwen 2 and Qwen 3 as the hub keeps them, with a byte-level BPE or a SentencePiece vocabulary.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import llama_cpp
import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from tinyagent_helpers.artifacts import InputError
from tinyagent_helpers.models import TEMPLATE_KEY

KINDS = {"llama": gguf.MODEL_ARCH.LLAMA, "qwen2": gguf.MODEL_ARCH.QWEN2, "qwen3": gguf.MODEL_ARCH.QWEN3}
# How text is cut before byte pairs are merged: llama.cpp has these rules built in, by name, and reads no others. They differ
# in how many digits stay together.
CUTS = {r"\p{N}{1,3}": "llama-bpe", r"\p{N}": "qwen2"}
SPACE = "\u2581"  # how SentencePiece writes one


class Unconvertible(InputError):
    """A model of a kind that is not written as GGUF here."""


def write_gguf(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, path: Path, name: str, template: str
) -> None:
    """Write weights in 16 bits, vectors in 32, and the tokenizer, in the layout that llama.cpp reads.

    Raises:
        Unconvertible: its kind, its positions or its tokenizer are not known here.
    """
    config = model.config
    if config.model_type not in KINDS:
        raise Unconvertible(f"models of the kinds {', '.join(KINDS)} are converted, and this is a {config.model_type}")
    if config.model_type == "llama" and (config.attention_bias or config.mlp_bias):
        raise Unconvertible("a Llama with biases is not converted")
    if getattr(config, "use_sliding_window", False):
        raise Unconvertible("a model that looks back through a sliding window is not converted")
    writer = gguf.GGUFWriter(path, config.model_type)
    writer.add_name(name)
    writer.add_string(TEMPLATE_KEY, template)
    writer.add_file_type(llama_cpp.LLAMA_FTYPE_MOSTLY_F16)
    _add_shape(writer, config)
    frequencies = _add_positions(writer, config)
    _add_vocabulary(writer, tokenizer, config.vocab_size)
    for tensor, values in [*frequencies, *_tensors(model)]:
        writer.add_tensor(tensor, values.astype(np.float16 if values.ndim == 2 else np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_shape(writer: gguf.GGUFWriter, config: Any) -> None:
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_key_length(_head(config))
    writer.add_value_length(_head(config))
    writer.add_vocab_size(config.vocab_size)


def _head(config: Any) -> int:
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def _add_positions(writer: gguf.GGUFWriter, config: Any) -> list[tuple[str, np.ndarray]]:
    """How far positions turn queries and keys; Llama 3.1's stretching is a tensor: what each angle is divided by."""
    rope = config.rope_parameters
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_rope_dimension_count(_head(config))
    if rope["rope_type"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    elif rope["rope_type"] == "llama3":
        stretched = ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")[0].double().numpy()
        usual = rope["rope_theta"] ** (-np.arange(0, _head(config), 2) / _head(config))
        return [("rope_freqs.weight", (usual / stretched).astype(np.float32))]
    elif rope["rope_type"] != "default":
        raise Unconvertible(f"a model whose positions are stretched by the rule {rope['rope_type']} is not converted")
    return []


def _tensors(model: PreTrainedModel) -> Iterator[tuple[str, np.ndarray]]:
    """The weights under llama.cpp's names. For a Llama it turns neighbours of a query by one angle, where transformers turns
    the halves of a head: rows of queries and keys are put in that order."""
    config = model.config
    names = gguf.get_tensor_name_map(KINDS[config.model_type], config.num_hidden_layers)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for name, weight in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        values = weight.float().cpu().numpy()
        if config.model_type == "llama" and (count := heads.get(name.split(".")[-2])):
            values = values.reshape(count, 2, -1, values.shape[1]).swapaxes(1, 2).reshape(values.shape)
        yield names.get_name(name, try_suffixes=(".weight", ".bias")), values


def _add_vocabulary(writer: gguf.GGUFWriter, tokenizer: PreTrainedTokenizerBase, size: int) -> None:
    """Tokens, the rule for joining them, which tokens are special, and which end a text."""
    whole = json.loads(tokenizer.backend_tokenizer.to_str())
    if whole["model"]["type"] != "BPE":
        raise Unconvertible("only BPE tokenizers are converted, byte-level ones and SentencePiece's")
    if len(tokenizer) > size:
        raise Unconvertible(f"the tokenizer has {len(tokenizer):,} tokens, and the model knows {size:,}")
    tokens, kinds = [f"[unused{i}]" for i in range(size)], [gguf.TokenType.UNUSED] * size
    for token, number in tokenizer.get_vocab().items():
        tokens[number], kinds[number] = token, gguf.TokenType.NORMAL
    for token in whole["added_tokens"]:
        kinds[token["id"]] = gguf.TokenType.CONTROL if token["special"] else gguf.TokenType.USER_DEFINED
    merges = [merge.split(" ") if isinstance(merge, str) else merge for merge in whole["model"]["merges"]]
    if whole["model"].get("byte_fallback"):
        _add_sentencepiece(writer, whole, tokens, kinds, merges)
    else:
        _add_byte_level(writer, whole, merges)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    begins = tokenizer("x")["input_ids"][0] == tokenizer.bos_token_id
    writer.add_add_bos_token(begins)
    if begins:
        writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    if tokenizer.pad_token_id is not None:
        writer.add_pad_token_id(tokenizer.pad_token_id)
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.chat_template)


def _add_byte_level(writer: gguf.GGUFWriter, whole: dict[str, Any], merges: list[list[str]]) -> None:
    before = whole["pre_tokenizer"] or {}
    parts = before.get("pretokenizers", [before])
    cuts = [part["pattern"].get("Regex", "") for part in parts if part.get("type") == "Split"]
    rules = [rule for digits, rule in CUTS.items() if any(f"|{digits}|" in cut for cut in cuts)]
    if not rules:
        raise Unconvertible("only byte-level BPE tokenizers that cut text as Llama 3 or Qwen 2 do are converted")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(rules[0])
    writer.add_token_merges([" ".join(merge) for merge in merges])


def _add_sentencepiece(
    writer: gguf.GGUFWriter, whole: dict[str, Any], tokens: list[str], kinds: list[int], merges: list[list[str]]
) -> None:
    """SentencePiece joins the pair with the best score first; where the hub keeps a list of joins, the first is the best."""
    ranks: dict[str, int] = {}
    for rank, (left, right) in enumerate(merges):
        ranks.setdefault(left + right, rank)
    for number, token in enumerate(tokens):
        if token == whole["model"]["unk_token"]:
            kinds[number] = gguf.TokenType.UNKNOWN
        elif len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
            kinds[number] = gguf.TokenType.BYTE
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_scores([float(-ranks.get(token, len(merges))) for token in tokens])
    writer.add_add_space_prefix(f'"prepend": "{SPACE}"' in json.dumps(whole["normalizer"], ensure_ascii=False))
