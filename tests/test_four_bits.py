"""What four bits cost: every way is made once, kept, and measured on the same requests."""

import pytest

from tinyagent_helpers import four_bits
from tinyagent_helpers.artifacts import InputError
from tinyagent_helpers.four_bits import AWARE, SIXTEEN, Rounding, measure_rounding
from tinyagent_helpers.profiles import PROFILES
from tinyagent_helpers.synthesis import course_data


@pytest.mark.minutes
def test_every_way_is_made_measured_and_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYAGENT_ARTIFACTS", str(tmp_path / "artifacts"))
    data, _ = course_data(PROFILES["nano"], 0, report=lambda line: None)
    lines, parts = [], (PROFILES["nano"], data, tmp_path / "runs", [0], Rounding(rows=16, limit=3))
    rows = measure_rounding(*parts, lines.append)
    assert [row["way"] for row in rows][:1] + [row["way"] for row in rows][-1:] == [SIXTEEN, AWARE]
    sizes = {row["way"]: row["MB"] for row in rows}
    assert sizes["4 bits, Q4_0"] == sizes["4 bits, Q4_0, calibrated"] == sizes[AWARE] <= 0.31 * sizes[SIXTEEN]
    assert sizes["8 bits, Q8_0"] < sizes["4 bits, NF4, kept as F16"] == sizes[SIXTEEN]
    assert rows[0]["p"] == 1.0 and all(row["n"] == 12 and row["core seconds"] > 0 for row in rows)
    monkeypatch.setattr(four_bits, "export", None)  # nothing is made again
    assert measure_rounding(*parts, lines.append) == rows
    with pytest.raises(InputError, match="other settings or data"):
        measure_rounding(*parts[:-1], Rounding(rows=16, limit=3, rate=0.01), lines.append)
