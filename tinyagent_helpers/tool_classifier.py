"""ToolRAG's classifier: an encoder, one linear layer, a sigmoid for every tool. Derived in notebook 04.

Source: the TinyAgent blog post, "Fine-tuned Tool RAG" (DeBERTa-v3-small, one layer on the CLS token).
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from tinyagent_helpers.artifacts import InputError, write_json
from tinyagent_helpers.models import NANO_BASE
from tinyagent_helpers.quick_classifier import LONGEST, NANO_RETRIEVER, SCALE, Calibrated, finished_manifest
from tinyagent_helpers.transformers_model import device

QUIET = -6.0  # the first logit of every tool and token: before training nothing asks for a tool


class ToolClassifier(nn.Module):
    """A logit for each tool. `pool`: "cls", one linear layer on the first token's vector, as published; or "words", the same
    layer on every token's vector, summed up so that one word is enough: log(sum(exp(logit of token))) over tokens."""

    def __init__(self, encoder: PreTrainedModel, tools: int, pool: str):
        super().__init__()
        self.encoder, self.head, self.pool = encoder, nn.Linear(encoder.config.hidden_size, tools), pool
        nn.init.constant_(self.head.bias, QUIET if pool == "words" else 0.0)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """(requests, tokens) to (requests, tools)."""
        logits = self.head(self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state)
        if self.pool == "cls":
            return logits[:, 0]
        return logits.masked_fill(attention_mask[..., None] == 0, -torch.inf).logsumexp(dim=1)


class Classifier(Calibrated):
    """A trained classifier as a scorer: calibrated probabilities for the tools in `names`."""

    def __init__(self, model: ToolClassifier, tokenizer: PreTrainedTokenizerBase, names: Sequence[str]):
        super().__init__(names)
        self.model, self.tokenizer = model.eval(), tokenizer

    def logits(self, requests: Sequence[str]) -> np.ndarray:
        """What the model says before it is calibrated, (requests, tools)."""
        return self._batched(requests, lambda batch: self.model(**batch))

    def embed(self, requests: Sequence[str]) -> np.ndarray:
        """The mean of the encoder's vectors over a text's tokens, (requests, dimensions)."""

        def mean(batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
            read = batch["attention_mask"][..., None]
            return (self.model.encoder(**batch).last_hidden_state * read).sum(dim=1) / read.sum(dim=1)

        return self._batched(requests, mean)

    @torch.inference_mode()
    def _batched(self, requests: Sequence[str], work: Callable[[Mapping], torch.Tensor], size: int = 64) -> np.ndarray:
        made, order = {}, sorted(range(len(requests)), key=lambda i: len(requests[i]))
        for start in range(0, len(order), size):
            numbers = order[start : start + size]
            batch = read(self.tokenizer, [requests[i] for i in numbers]).to(self.model.head.weight.device)
            made |= zip(numbers, work(batch).float().cpu().numpy())
        return np.array([made[i] for i in range(len(requests))])

    def calibrate(self, requests: Sequence[str], needed: np.ndarray) -> None:
        """Make probabilities of logits: the slope and offset that make held-out labels likeliest (Platt, 1999).

        The weight in the loss has made every tool look likelier than it is, and training ends surer than it should be.
        """
        from sklearn.linear_model import LogisticRegression

        fitted = LogisticRegression(C=1e6).fit(self.logits(requests).reshape(-1, 1), needed.ravel())
        self.slope, self.offset = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])


def read(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> Any:
    """Token ids and attention mask of texts, filled up on the right, cut after `LONGEST` tokens."""
    shape = {"padding": True, "padding_side": "right", "truncation": True, "max_length": LONGEST}
    return tokenizer(list(texts), **shape, return_tensors="pt", return_token_type_ids=False)


def load_encoder(path: str | Path = "", network: bool = False) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """An encoder and its tokenizer: a folder's, the hub's if `network`, or, without a path, the nano base without its head.

    Raises:
        InputError: it is not there, or may not be fetched.
    """
    source, options = str(path or NANO_BASE), {"local_files_only": not network}
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, **options)
        encoder = AutoModel.from_pretrained(source, use_safetensors=True, dtype=torch.float32, **options)
    except (OSError, ValueError, ImportError, SafetensorError) as error:
        why = (str(error).splitlines() or [repr(error)])[0]
        raise InputError(f"the encoder {source} cannot be loaded: {why}; give a folder that holds one") from None
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    return encoder.to(device()), tokenizer


def in_eight_bits(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights with a byte for each number of a matrix: multiples, from -127 to 127, of a scale that each row has of its own."""
    made = {}
    for name, weight in weights.items():
        if weight.dim() == 2:
            scale = weight.abs().amax(dim=1, keepdim=True).clamp(min=1e-12) / 127
            made[name], made[name + SCALE] = (weight / scale).round().to(torch.int8), scale
        else:
            made[name] = weight.clone()
    return made


def from_eight_bits(kept: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights that `in_eight_bits` has kept, to half a scale."""
    scaled = {name: kept[name] * kept[name + SCALE] if name + SCALE in kept else kept[name] for name in kept}
    return {name: weight for name, weight in scaled.items() if not name.endswith(SCALE)}


def save_classifier(classifier: Classifier, folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write a classifier in 8 bits: `config.json` of the encoder, `model.safetensors`, the tokenizer, and last the manifest,
    without which it is not loaded; an older one goes first."""
    (folder / "manifest.json").unlink(missing_ok=True)
    classifier.model.encoder.config.save_pretrained(folder)
    save_file(in_eight_bits(classifier.model.state_dict()), folder / "model.safetensors")
    classifier.tokenizer.save_pretrained(folder)
    write_json(folder / "manifest.json", dict(manifest))


def load_classifier(folder: str | Path = "") -> Classifier:
    """A classifier that `train_classifier` left, with its threshold; without a folder, the one that ships.

    Raises:
        InputError: it is not there, broken or unfinished, or its tools are described otherwise now.
    """
    folder = Path(folder or NANO_RETRIEVER)
    made = finished_manifest(folder)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        encoder = AutoModel.from_config(AutoConfig.from_pretrained(folder, local_files_only=True), dtype=torch.float32)
        model = ToolClassifier(encoder, len(made["tools"]), made["settings"]["pool"])
        model.load_state_dict(from_eight_bits(load_file(folder / "model.safetensors")))
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise InputError(f"the retriever in {folder} cannot be read ({error}); train it again") from None
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    classifier = Classifier(model.to(device()), tokenizer, made["tools"])
    classifier.slope, classifier.offset, classifier.threshold = made["slope"], made["offset"], made["threshold"]
    return classifier
