"""Simulated four bits: the very bits of llama.cpp, gradients that pass, and files that hold what was trained."""

from copy import deepcopy
from dataclasses import replace

import gguf
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import get_peft_model

from tinyagent_helpers.artifacts import InputError
from tinyagent_helpers.examples import Pair
from tinyagent_helpers.four_bits import nf4
from tinyagent_helpers.quantize import export
from tinyagent_helpers.simulated import (
    StraightThrough,
    block_weights,
    change_weights,
    divergence,
    importance,
    next_tokens,
    q4_0,
    restore_weights,
    train_with_four_bits,
)
from tinyagent_helpers.training import SETTINGS, adapter

Q4_0 = gguf.GGMLQuantizationType.Q4_0
PAIRS = [Pair("Text Sid", '1. get_phone_number(" Sid")', "plan"), Pair("Open the lease", "1. join()", "plan")]


def by_gguf(weights):
    return gguf.quants.dequantize(gguf.quants.quantize(weights, Q4_0), Q4_0)


@given(
    st.integers(0, 10_000), st.sampled_from([0.0, 1e-7, 1e-4, 0.05, 3.0]), st.sampled_from(["normal", "ties", "sparse"])
)
def test_q4_0_is_gguf_s_bit_for_bit(seed, size, kind):
    rng = np.random.default_rng(seed)
    weights = rng.normal(0, size, (4, 64)) if size else np.zeros((4, 64))
    if kind == "ties":
        weights = size * rng.choice([-1.0, 1.0], (4, 64))
    elif kind == "sparse":
        weights *= rng.random((4, 64)) < 0.05
    weights = weights.astype(np.float16).astype(np.float32)
    assert np.array_equal(q4_0(torch.from_numpy(weights)).numpy(), by_gguf(weights))


def test_rows_that_groups_do_not_fill_are_refused_and_coarser_groups_lose_more():
    with pytest.raises(InputError, match="rows of 40 weights cannot be cut into groups of 32"):
        q4_0(torch.zeros(2, 40))
    weights = torch.from_numpy(np.random.default_rng(0).normal(0, 0.05, (64, 256)).astype(np.float32))
    errors = [float((q4_0(weights, group) - weights).norm()) for group in (16, 32, 64, 256)]
    assert errors == sorted(errors) and errors[0] > 0
    assert float((nf4(weights, 64) - weights).norm()) < errors[2] and nf4(weights).unique().numel() > 16


def test_gradients_pass_straight_through():
    weights = torch.randn(2, 64, requires_grad=True)
    wanted = torch.randn(2, 64)
    (StraightThrough.apply(weights) * wanted).sum().backward()
    assert torch.equal(weights.grad, wanted)


@pytest.fixture
def adapted(tiny):
    torch.manual_seed(1)
    model = get_peft_model(deepcopy(tiny[0]), adapter(replace(SETTINGS["nano"], rank=4, alpha=8)))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(0, 0.05)
    return model


def test_the_file_holds_the_weights_that_training_computed_with(adapted, tiny, tmp_path):
    ids = torch.tensor([tiny[1]("Text Sid that I am late")["input_ids"]])
    usual = adapted(ids).logits
    train_with_four_bits(adapted)
    simulated = adapted(ids).logits
    simulated.sum().backward()
    assert all(w.grad.abs().sum() > 0 for n, w in adapted.named_parameters() if "lora_" in n)
    assert not torch.allclose(usual, simulated)
    merged = adapted.merge_and_unload()
    export(merged, tiny[1], tmp_path / "x.gguf", "Q4_0")
    stored = {tensor.name: tensor for tensor in gguf.GGUFReader(tmp_path / "x.gguf").tensors}
    up = stored["blk.1.ffn_up.weight"]
    assert up.tensor_type == Q4_0
    right = q4_0(merged.model.layers[1].mlp.up_proj.weight.detach()).numpy()
    assert np.array_equal(gguf.quants.dequantize(up.data, Q4_0), right)
    change_weights(merged, lambda _, weight: q4_0(weight))
    assert torch.allclose(merged(ids).logits, simulated, atol=1e-4)


def test_training_with_four_bits_needs_an_adapter(tiny):
    with pytest.raises(InputError, match="needs an adapter"):
        train_with_four_bits(deepcopy(tiny[0]))


def test_weights_come_back_and_predictions_move_only_in_between(tiny):
    model = deepcopy(tiny[0])
    before, exact = next_tokens(model, tiny[1], PAIRS), {k: w.clone() for k, w in block_weights(model).items()}
    assert [len(row) for row in before] == [len(tiny[1](pair.completion)["input_ids"]) for pair in PAIRS]
    assert torch.allclose(before[0].exp().sum(-1), torch.ones(len(before[0])), atol=1e-4)
    kept = change_weights(model, lambda name, weight: weight * 20 if "up_proj" in name else weight)
    assert divergence(before, next_tokens(model, tiny[1], PAIRS)) > 1e-6
    restore_weights(model, kept)
    assert all(torch.equal(weight, exact[name]) for name, weight in block_weights(model).items())
    assert divergence(before, next_tokens(model, tiny[1], PAIRS)) == 0


def test_importance_is_the_inputs_mean_square_and_changes_the_file(tiny, tmp_path):
    model = deepcopy(tiny[0])
    with torch.no_grad():
        model.model.layers[0].input_layernorm.weight[3] = 100.0
    columns = importance(model, tiny[1], PAIRS)
    assert set(columns) == {
        f"blk.{layer}.{name}.weight"
        for layer in (0, 1)
        for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    }
    assert columns["blk.0.attn_q.weight"].argmax() == 3
    export(model, tiny[1], tmp_path / "plain.gguf", "Q4_0")
    export(model, tiny[1], tmp_path / "calibrated.gguf", "Q4_0", importance=columns)
    plain, calibrated = (gguf.GGUFReader(tmp_path / f"{name}.gguf").tensors for name in ("plain", "calibrated"))
    errors = []
    for tensors in (plain, calibrated):
        stored = next(tensor for tensor in tensors if tensor.name == "blk.0.attn_v.weight")
        found = gguf.quants.dequantize(stored.data, stored.tensor_type)
        exact = model.model.layers[0].self_attn.v_proj.weight.detach().numpy()
        errors.append(float(((found - exact) ** 2 * columns["blk.0.attn_v.weight"].numpy()).sum()))
    assert errors[1] < errors[0], "the columns that count are rounded better"
