"""Planners for llama.cpp: a model's weights and tokenizer as one GGUF file, in 16 bits or fewer."""

import logging
import os
from collections.abc import Mapping
from ctypes import POINTER, byref, c_float
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tinyagent_helpers.artifacts import InputError, make_folder
from tinyagent_helpers.gguf_file import Unconvertible, write_gguf
from tinyagent_helpers.models import LanguageModel, LlamaCppModel
from tinyagent_helpers.transformers_model import TransformersModel

logging.getLogger("llama-cpp-python").setLevel(logging.ERROR)  # else it lists every tensor
TYPES = {
    "F16": llama_cpp.LLAMA_FTYPE_MOSTLY_F16,
    "Q8_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0,
    "Q4_K_M": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_K_M,
    "Q4_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0,
}
HARD = "Whatever the calendar reminds you of. Text  Sid\tO'Neil: “naïve” 東京 🙂\n\n\n12345 $1 x=[\"a\", 'b']  \n I'm 3.50€ <END_OF_PLAN>"


def export(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    path: Path,
    kind: str,
    template: str = "",
    importance: Mapping[str, Any] = {},
) -> LlamaCppModel:
    """Write a planner as a GGUF file of a kind in `TYPES`, and load it. The file holds the hash of the prompt template it
    was trained on. It is there whole or not at all. `importance` says which columns are to be rounded best, see `simulated`.

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
            _quantize(whole, part, kind, importance, _large_embedding(model.config))
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


def _large_embedding(config: Any) -> bool:
    """Whether embeddings that choose the next token, too (which llama.cpp keeps in 6 bits) are a large part of a small model,
    and can be cut into the groups of 256 that a type of 5 bits needs: llama.cpp would abort the process."""
    return config.tie_word_embeddings and config.hidden_size <= 512 and config.hidden_size % 256 == 0


def _quantize(source: Path, target: Path, kind: str, importance: Mapping[str, Any], smaller: bool) -> None:
    """Let llama.cpp write a GGUF file again with fewer bits; `smaller`: in Q4_0 the embeddings get 5 bits instead of 6."""
    options = llama_cpp.llama_model_quantize_default_params()
    options.ftype, options.nthread = TYPES[kind], os.cpu_count() or 1
    if smaller and kind == "Q4_0":
        options.token_embedding_type = llama_cpp.GGML_TYPE_Q5_K
    columns = {name: np.asarray(values, dtype=np.float32) for name, values in importance.items()}
    if columns:  # an array that ends with an empty entry
        entry = llama_cpp.llama_model_imatrix_data
        options.imatrix = (entry * (len(columns) + 1))(
            *(
                entry(name.encode(), values.ctypes.data_as(POINTER(c_float)), len(values))
                for name, values in columns.items()
            )
        )
    if llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), byref(options)):
        raise InputError(f"llama.cpp cannot write {target} as {kind}")
