"""A planner and a joiner that know their lines: they stand in for the language model in the first two notebooks.

The plans are real and are executed for real; only the writing of them is played back.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tinyagent_helpers.agent import Round
from tinyagent_helpers.artifacts import DATA, read_jsonl
from tinyagent_helpers.joins import Join
from tinyagent_helpers.plans import Plan, fill_in
from tinyagent_helpers.times import FORMAT

TOUR = DATA / "tour.jsonl"


@dataclass(frozen=True)
class Recording:
    """A request made at `now`, the plans for it (the second is for a replan), and what to say at the end."""

    request: str
    now: datetime
    plans: tuple[str, ...]
    answer: str


def load_recordings(path: Path = TOUR) -> list[Recording]:
    """The recordings of a JSON Lines file."""
    rows = read_jsonl(path, ("request", "now", "plan", "answer"))
    return [
        Recording(r["request"], datetime.strptime(r["now"], FORMAT), (r["plan"], *r.get("replans", ())), r["answer"])
        for r in rows
    ]


class RecordedPlanner:
    """Plays a recording's plans back, a few characters at a time, `delay` seconds apart."""

    def __init__(self, recording: Recording, delay: float = 0.0):
        self.recording, self.delay = recording, delay

    async def stream(self, request: str, now: datetime, earlier: Sequence[Round]) -> AsyncGenerator[str, None]:
        """The first plan, or after a failure the next; an empty plan when there is none left."""
        plans = [*self.recording.plans, Plan().to_text()]
        for piece in re.findall(r"\w+|\W", plans[min(len(earlier), len(plans) - 1)]):
            await asyncio.sleep(self.delay)
            yield piece


class RecordedJoiner:
    """Asks for a new plan if anything failed; otherwise gives the recorded answer with the results filled in."""

    def __init__(self, answer: str):
        self.answer = answer

    async def join(self, request: str, rounds: Sequence[Round], may_replan: bool) -> Join:
        """The verdict on the last round."""
        last = rounds[-1]
        if last.problems and may_replan:
            return Join(thought="; ".join(last.problems), replan=True)
        if last.problems or not last.steps:
            problems = [problem for round in rounds for problem in round.problems]
            return Join(f"I could not do all of it: {'; '.join(problems) or 'no tool fits'}.", "Something failed.")
        return Join(fill_in(self.answer, _observations(last)), "Every step has a result.")


def _observations(last: Round) -> Mapping[int, str]:
    return {step.id: step.observation for step in last.steps}
