"""Counts, and what the leaderboard makes of them: version 3's overall and version 4's without its Agentic part. See notebook 08.

The two versions are never mixed: they weigh the same categories differently.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from tinyagent_helpers.bfcl.answers import NONE, STATUSES
from tinyagent_helpers.bfcl.official import LIVE, MULTI_TURN, NON_LIVE
from tinyagent_helpers.scoring import wilson


@dataclass
class Score:
    """One category: `n` answers, `right` of them by the official checker, `strict` of them with a true abstention where
    nothing was to be called; `statuses` counts answers by `Answer.status`, `errors` wrong ones by the checker's word."""

    n: int = 0
    right: int = 0
    strict: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)

    @property
    def rate(self) -> float:
        """The share of right answers, 0 where there are none."""
        return self.right / self.n if self.n else 0.0

    def add(self, category: str, status: str, error: str) -> None:
        """Count one answer; `error` is "" if it is right."""
        self.n += 1
        self.right += not error
        self.strict += not error and (status == NONE or not category.endswith("irrelevance"))
        self.statuses[status] += 1
        self.errors.update([error] if error else [])

    def row(self, category: str) -> dict[str, Any]:
        """The score as a row of a table."""
        low, high = wilson(self.right, self.n)
        counts = {"right": self.right, "of": self.n, "%": round(100 * self.rate, 1)}
        counts |= {"interval": f"{100 * low:.0f} to {100 * high:.0f}", "strict": self.strict}
        return {"category": category} | counts | {status: self.statuses[status] for status in STATUSES}


def tally(answers: Iterable[tuple[str, str, str]]) -> dict[str, Score]:
    """Scores by category of (category, status, error)."""
    scores: dict[str, Score] = {}
    for category, status, error in answers:
        scores.setdefault(category, Score()).add(category, status, error)
    return scores


def overall(scores: Mapping[str, Score]) -> dict[str, float]:
    """Version 3's overall, and its parts, in percent: Non-Live is the mean of five (the three languages' simple ones count as one),
    Live is weighted by counts, Multi-Turn is the mean of four; categories that were not run count as 0."""
    non_live = fmean([_simple(scores), *(_rate(scores, category) for category in NON_LIVE[3:])])
    parts = {"Non-Live": non_live, "Live": _weighted(scores, LIVE), "Multi-Turn": _multi_turn(scores)}
    return {name: round(100 * part, 2) for name, part in {"V3 overall": fmean(parts.values()), **parts}.items()}


def overall_v4(scores: Mapping[str, Score]) -> dict[str, float]:
    """Version 4's overall without its Agentic part, which is 40 of its 100 points, and its other parts, in percent: calls and
    abstentions are weighed apart."""
    non_live = fmean([_simple(scores), *(_rate(scores, category) for category in NON_LIVE[3:6])])
    quiet = fmean(_rate(scores, category) for category in ("irrelevance", "live_irrelevance"))
    parts = {"Non-Live AST": non_live, "Live AST": _weighted(scores, LIVE[:4]), "Irrelevance": quiet}
    parts["Multi-Turn"] = _multi_turn(scores)
    points = 0.1 * (non_live + parts["Live AST"] + quiet) + 0.3 * parts["Multi-Turn"]
    return {name: round(100 * part, 2) for name, part in {"V4 without Agentic, of 60": points, **parts}.items()}


def _rate(scores: Mapping[str, Score], category: str) -> float:
    return scores[category].rate if category in scores else 0.0


def _simple(scores: Mapping[str, Score]) -> float:
    return fmean(_rate(scores, category) for category in NON_LIVE[:3])


def _weighted(scores: Mapping[str, Score], categories: Iterable[str]) -> float:
    found = [scores.get(category, Score()) for category in categories]
    return sum(s.right for s in found) / max(sum(s.n for s in found), 1)


def _multi_turn(scores: Mapping[str, Score]) -> float:
    return fmean(_rate(scores, category) for category in MULTI_TURN)
