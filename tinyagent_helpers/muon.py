"""Muon (Jordan et al., 2024, https://kellerjordan.github.io/posts/muon/) for processors: steps of the same size in every direction.

torch's own makes matrices orthogonal one by one and in bfloat16, which a processor without AVX-512 only imitates: there that
took 0.9 of the 2.4 seconds of a step of notebook 03. Here all matrices of a shape are made so at once, in 32 bits.
"""

import math
from collections import defaultdict

import torch

COEFFICIENTS = (3.4445, -4.775, 2.0315)  # with these, five rounds bring any singular value near 1


class Muon(torch.optim.Muon):
    """torch's Muon, with its state and arguments, and the size of steps that it calls "original"."""

    @torch.no_grad()
    def step(self, closure=None):
        """Move every matrix by `lr`, times the root of rows per column where it is tall, along its orthogonal momentum."""
        loss = closure() if closure else None
        for group in self.param_groups:
            alike = defaultdict(list)
            for matrix in group["params"]:
                if matrix.grad is not None:
                    alike[matrix.shape].append(matrix)
            for (rows, columns), matrices in alike.items():
                size = group["lr"] * math.sqrt(max(1, rows / columns))
                updates = orthogonal(torch.stack([self._momentum(matrix, group) for matrix in matrices]))
                for matrix, update in zip(matrices, updates, strict=True):
                    matrix.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-size)
        return loss

    def _momentum(self, matrix: torch.nn.Parameter, group: dict) -> torch.Tensor:
        """The mean of past gradients, and once more a part of this one (Nesterov)."""
        state = self.state[matrix]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(matrix.grad)
        mean = state["momentum_buffer"].lerp_(matrix.grad, 1 - group["momentum"])
        return matrix.grad.lerp(mean, group["momentum"]).float()


def orthogonal(matrices: torch.Tensor, rounds: int = 5) -> torch.Tensor:
    """Matrices (count, rows, columns) with their singular values brought to about 1, by Newton and Schulz's iteration."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(rounds):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x
