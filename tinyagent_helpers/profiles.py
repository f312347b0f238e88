"""The dial: one name decides sizes and models, from a two-core laptop to the papers' scale."""

from __future__ import annotations

from dataclasses import dataclass

from tinyagent_helpers.artifacts import InputError


@dataclass(frozen=True)
class Profile:
    """What a profile stands for. `network` says whether it may use the hub; memory and disk are in GB."""

    name: str
    planner: str
    purpose: str
    network: bool
    examples: int
    memory: float
    disk: float
    accelerator: tuple[str, ...] = ()


PROFILES = {
    p.name: p
    for p in (
        Profile("nano", "the course's own nano base", "any 2-core CPU, minutes", False, 4_000, 6, 4),
        Profile("laptop", "Qwen/Qwen3-0.6B", "Apple silicon or a small GPU", True, 10_000, 12, 10, ("mps", "cuda")),
        Profile(
            "gpu", "Doctor-Shotgun/TinyLlama-1.1B-32k-Instruct", "one GPU of 16 GB", True, 40_000, 16, 30, ("cuda",)
        ),
        Profile(
            "paper",
            "Doctor-Shotgun/TinyLlama-1.1B-32k-Instruct",
            "one to eight GPUs",
            True,
            80_000,
            64,
            120,
            ("cuda",),
        ),
    )
}


def profile(name: str) -> Profile:
    """The profile of that name.

    Raises:
        InputError: there is none.
    """
    if name not in PROFILES:
        raise InputError(f"there is no profile {name!r}; choose one of {', '.join(PROFILES)}")
    return PROFILES[name]
