"""Settings and helpers shared by the tests."""

from datetime import datetime

import pytest
import torch
from hypothesis import settings
from transformers import LlamaConfig, LlamaForCausalLM

from tinyagent_helpers.mac.simulated import SimulatedMac
from tinyagent_helpers.pretraining import train_tokenizer

settings.register_profile("course", max_examples=300, deadline=None, derandomize=True)
settings.load_profile("course")
NOW = datetime(2024, 5, 24, 9, 0)


@pytest.fixture
def now() -> datetime:
    """A Friday morning."""
    return NOW


@pytest.fixture(scope="session")
def tiny():
    """An untrained Llama with the course's kind of tokenizer, and the tokenizer."""
    tokenizer = train_tokenizer(700, 0, 200)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=4096, tie_word_embeddings=True, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id, bos_token_id=None,
    )  # fmt: skip
    return LlamaForCausalLM(config), tokenizer


@pytest.fixture
def mac(tmp_path) -> SimulatedMac:
    """A simulated Mac as it ships."""
    return SimulatedMac(tmp_path / "mac", NOW)
