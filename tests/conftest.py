"""Settings and helpers shared by the tests."""

from datetime import datetime

import pytest
from hypothesis import settings

from tinyagent_helpers.mac.simulated import SimulatedMac

settings.register_profile("course", max_examples=300, deadline=None, derandomize=True)
settings.load_profile("course")
NOW = datetime(2024, 5, 24, 9, 0)


@pytest.fixture
def now() -> datetime:
    """A Friday morning."""
    return NOW


@pytest.fixture
def mac(tmp_path) -> SimulatedMac:
    """A simulated Mac as it ships."""
    return SimulatedMac(tmp_path / "mac", NOW)
