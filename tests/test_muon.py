"""Muon's steps: of the same size in every direction, and those of torch's."""

import torch

from tinyagent_helpers.muon import Muon, orthogonal


def test_singular_values_are_brought_near_one():
    torch.manual_seed(0)
    for shape in ((3, 8, 40), (3, 40, 8)):
        made = orthogonal(torch.randn(shape))
        values = torch.linalg.svdvals(made)
        assert made.shape == shape and values.min() > 0.6 and values.max() < 1.3


def test_steps_are_torchs_but_for_its_rounding():
    torch.manual_seed(0)
    shapes, options = [(6, 9), (6, 9), (20, 5)], {"lr": 0.02, "weight_decay": 0.1, "adjust_lr_fn": "original"}
    mine = [torch.nn.Parameter(torch.randn(shape)) for shape in shapes]
    theirs = [torch.nn.Parameter(one.detach().clone()) for one in mine]
    first = [one.detach().clone() for one in mine]
    for optimizer, matrices in ((Muon(mine, **options), mine), (torch.optim.Muon(theirs, **options), theirs)):
        generator = torch.Generator().manual_seed(1)
        for _ in range(4):
            for matrix in matrices[:2]:
                matrix.grad = torch.randn(matrix.shape, generator=generator)
            optimizer.step()
    assert torch.equal(mine[2], first[2]), "what has no gradient stays"
    for one, other, start in zip(mine[:2], theirs, first):
        assert torch.allclose(one, other, atol=2e-3) and not torch.allclose(one, start, atol=2e-2)
