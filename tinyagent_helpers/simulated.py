"""Weights as four bits would hold them, in torch: to see what is lost, and to train with it. Derived in notebook 06.

Sources: llama.cpp's Q4_0 layout, as in gguf's `quants`; the straight-through estimator of Bengio et al. (2013); quantisation-aware
training as in Jacob et al. (2018).
"""

from collections.abc import Callable, Mapping, Sequence
from types import MethodType
from typing import Any

import gguf
import torch
from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor
from torch.nn.functional import linear
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tinyagent_helpers.artifacts import InputError
from tinyagent_helpers.examples import Pair
from tinyagent_helpers.gguf_file import KINDS

GROUP = 32


def q4_0(weights: Tensor, group: int = GROUP) -> Tensor:
    """What is left of weights (rows, columns) after Q4_0: of every `group` neighbours in a row the one that is farthest from 0
    becomes -8 steps, all become whole steps from -8 to 7, and the size of a step is kept in 16 bits. With groups of 32 these
    are the bits that llama.cpp makes of a file in 16 bits.

    Raises:
        InputError: groups do not fill the rows.
    """
    if weights.shape[-1] % group:
        raise InputError(f"rows of {weights.shape[-1]} weights cannot be cut into groups of {group}")
    groups = weights.half().float().view(-1, group)
    farthest = groups.abs().max(dim=1, keepdim=True).values
    first = (groups.abs() == farthest).float().argmax(dim=1, keepdim=True)
    step = groups.gather(1, first) / -8
    inverse = torch.where(step == 0, 0, 1 / step)
    levels = (groups * inverse + 8.5).trunc().clamp(0, 15) - 8
    return (levels * step.half().float()).view(weights.shape).to(weights.dtype)


class StraightThrough(torch.autograd.Function):
    """Q4_0 on the way forward; on the way back the gradient passes as if nothing had been rounded."""

    @staticmethod
    def forward(context: Any, weights: Tensor) -> Tensor:
        """See `q4_0`."""
        return q4_0(weights)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        """The same gradient."""
        return gradient


def train_with_four_bits(model: torch.nn.Module) -> None:
    """Let every layer with an adapter compute with the four bits that its weights and the adapter's together will have.

    Raises:
        InputError: there is no adapter, or the base is in four bits already.
    """
    layers = [module for module in model.modules() if isinstance(module, LoraLinear)]
    if not layers or any(layer.base_layer.weight.shape[-1] != layer.in_features for layer in layers):
        raise InputError("training with simulated four bits needs an adapter on a base with whole weights")
    for layer in layers:
        layer.forward = MethodType(_forward, layer)


def _forward(layer: LoraLinear, x: Tensor, *_: Any, **__: Any) -> Tensor:
    weights = layer.base_layer.weight + layer.get_delta_weight(layer.active_adapters[0])
    return linear(x, StraightThrough.apply(weights).to(x.dtype), layer.base_layer.bias)


def block_weights(model: PreTrainedModel) -> dict[str, Tensor]:
    """The matrices of a model's blocks by name, those that are quantised: no embeddings, no vectors."""
    return {name: weight for name, weight in model.named_parameters() if ".layers." in name and weight.ndim == 2}


def change_weights(model: PreTrainedModel, change: Callable[[str, Tensor], Tensor]) -> dict[str, Tensor]:
    """Replace the matrices of a model's blocks; returns what they were, for `restore_weights`."""
    before = {name: weight.detach().clone() for name, weight in block_weights(model).items()}
    restore_weights(model, {name: change(name, weight) for name, weight in before.items()})
    return before


@torch.no_grad()
def restore_weights(model: PreTrainedModel, weights: Mapping[str, Tensor]) -> None:
    """Give a model these matrices."""
    for name, weight in block_weights(model).items():
        weight.copy_(weights[name])


@torch.inference_mode()
def next_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, pairs: Sequence[Pair]) -> list[Tensor]:
    """For each pair the log-probabilities before every token of the completion, (tokens, vocabulary)."""
    made = []
    for pair in pairs:
        prompt, plan = tokenizer([pair.prompt, pair.completion])["input_ids"]
        ids = torch.tensor([prompt + plan], device=model.device)
        logits = model(ids, logits_to_keep=len(plan) + 1).logits[0, :-1]
        made.append(logits.float().log_softmax(-1))
    return made


def divergence(before: Sequence[Tensor], after: Sequence[Tensor]) -> float:
    """How far the predictions have moved: the mean Kullback-Leibler divergence a token, in nats."""
    each = [(old.exp() * (old - new)).sum(-1) for old, new in zip(before, after, strict=True)]
    return float(torch.cat(each).mean())


def importance(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, pairs: Sequence[Pair]) -> dict[str, Tensor]:
    """How strongly each column of each matrix is used: its inputs' mean square over the tokens of these pairs, by the name that
    the matrix has in a GGUF file. llama.cpp calls it an importance matrix, and rounds the columns with most of it best."""
    names = gguf.get_tensor_name_map(KINDS[model.config.model_type], model.config.num_hidden_layers)
    sums, hooks = {}, []
    for name in block_weights(model):
        layer, key = model.get_submodule(name.removesuffix(".weight")), names.get_name(name, try_suffixes=(".weight",))

        def note(_: Any, inputs: tuple[Tensor], key: str = key) -> None:
            sums.setdefault(key, []).append(inputs[0][0].cpu().double().square().mean(0))

        hooks.append(layer.register_forward_pre_hook(note))
    next_tokens(model, tokenizer, pairs)
    for hook in hooks:
        hook.remove()
    return {key: torch.stack(found).mean(0).float() for key, found in sums.items()}
