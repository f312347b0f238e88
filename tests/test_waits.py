"""How long one waits: every way is measured, and what is measured is in order."""

import pytest

from tinyagent_helpers.artifacts import InputError
from tinyagent_helpers.waits import TIMES, cold_ask, measure_waits


@pytest.mark.minutes
def test_every_way_to_ask_is_measured(tmp_path):
    rows = measure_waits(tmp_path, 2)
    assert [row["way"].split(",")[0] for row in rows] == ["cold", "warm", "cold", "warm"]
    for row in rows:
        start, _, plan, answer = (row[name] for name in TIMES)
        assert 0 <= start <= plan <= answer <= row["slowest answer, s"] and row["n"] == 2
        assert (start > 0.2) == row["way"].startswith("cold")
    assert rows[0]["answer, s"] < 10 and rows[0]["memory, MB"] < 1_000


def test_an_ask_without_an_answer_is_no_measurement(tmp_path, capfd):
    with pytest.raises(InputError, match="gave no answer to 'x'"):
        cold_ask("x", tmp_path, "--model", "nowhere.gguf")
    assert "nowhere.gguf" in capfd.readouterr().err
