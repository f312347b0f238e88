"""The papers' tables, row by row: what was published, what our records say for nano, what would measure the row itself, and what
it gave, once its record lies in data/results. See notebook 08."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

from tinyagent_helpers.artifacts import DATA, read_json
from tinyagent_helpers.results import RESULTS

PAPERS = DATA / "papers.toml"
NOT_MEASURED = "-"


@cache
def tables() -> list[dict[str, Any]]:
    """The published tables, as data/papers.toml holds them."""
    return tomllib.loads(PAPERS.read_text(encoding="utf-8"))["table"]


def rows(table: Mapping[str, Any], folder: Path = RESULTS) -> Iterator[dict[str, str]]:
    """A table's rows: its own columns, then ours on nano, what is to be run for the row itself, and what that gave."""
    for row in table["rows"]:
        shown = {"row": row["row"]} | dict(zip(table["published"], row["published"], strict=True))
        ours = measured(table, row.get("nano", {}), folder)
        yours = measured(table, {"record": row["id"]}, folder)
        yield shown | {"nano": ours, "yours": yours, "to fill it": row["command"]}


def measured(table: Mapping[str, Any], where: Mapping[str, Any], folder: Path = RESULTS) -> str:
    """What a record says in a table's column, "-" if there is none: the mean over its rows, or over those that are meant."""
    path = folder / f"{where.get('record', '')}.json"
    if not path.exists():
        return NOT_MEASURED
    found, column = read_json(path), where.get("column", table["column"])
    if column in found.get("overall", {}).get("V3", {}):
        return f"{found['overall']['V3'][column]}" + (" (sample)" if "sample" in found["overall"] else "")
    values = [row[column] for row in _meant(found["figures"], where.get("row")) if column in row]
    return f"{fmean(values):.1f}" if values else NOT_MEASURED


def _meant(figures: Sequence[Mapping[str, Any]], row: str | Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    """All rows of a record, the one whose first column has a value, or those with these values."""
    if row is None:
        return list(figures)
    wanted = row if isinstance(row, Mapping) else {next(iter(figures[0])): row}
    return [figure for figure in figures if wanted.items() <= figure.items()]
