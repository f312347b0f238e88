"""A language model as the agent's planner and joiner, and plans for many requests at once."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tinyagent_helpers.agent import Round
from tinyagent_helpers.artifacts import InputError, Log, read_jsonl
from tinyagent_helpers.joins import Join, JoinError, parse_join
from tinyagent_helpers.models import MAX_NEW_TOKENS, LanguageModel
from tinyagent_helpers.plans import END_OF_PLAN, PlanError, PlanReader
from tinyagent_helpers.prompts import ExampleIndex, PromptTemplate, check_fits
from tinyagent_helpers.sanity import check_request
from tinyagent_helpers.times import moment_of
from tinyagent_helpers.toolrag import AllTools, Retriever
from tinyagent_helpers.tools import MAC_TOOLS, Tool

MAX_OBSERVATION = 300  # characters of a result that the model is shown


def check_template(model: LanguageModel, template: PromptTemplate) -> None:
    """See that a model is asked in the language it has learned.

    Raises:
        InputError: it was trained on another prompt template.
    """
    if model.template and model.template != template.hash:
        raise InputError(
            f"{model.name} was trained on another prompt template ({model.template}, not {template.hash}): "
            "train it again, or use as many examples as in training"
        )


@dataclass(frozen=True)
class Planned:
    """A plan; the tools that were retrieved for it; those that its prompt showed; and whether it had to be asked for again,
    with all tools."""

    plan: str
    retrieved: list[str]
    tools: list[str]
    again: bool = False


class ModelPlanner:
    """Lets a language model write plans with the tools that a retriever finds.

    Retrieval can be wrong, and the planner notices part of it: if nothing was found, or the first step is not a call of a
    tool that it was shown, it is asked again with all tools, before anything is carried out. `shown` are the tools of the
    last prompt.

    Raises:
        InputError: the model was trained on another prompt template.
    """

    def __init__(
        self,
        model: LanguageModel,
        template: PromptTemplate,
        retriever: Retriever = AllTools(),
        index: ExampleIndex | None = None,
    ):
        check_template(model, template)
        self.model, self.template, self.retriever, self.index = model, template, retriever, index
        self.shown: list[str] = []

    def choose(self, request: str, earlier: Sequence[Round] = ()) -> Mapping[str, Tool]:
        """The tools for a plan: those retrieved, for a second plan also those that the first one called; all tools, if
        nothing was retrieved or the first plan had no step."""
        [found] = self.retriever.retrieve([request])
        if not found or any(not round.steps for round in earlier):
            return self.retriever.tools
        called = {step.tool for round in earlier for step in round.steps}
        return {name: tool for name, tool in self.retriever.tools.items() if name in found or name in called}

    def prompt(
        self, request: str, now: datetime, earlier: Sequence[Round] = (), tools: Mapping[str, Tool] | None = None
    ) -> str:
        """What the model is shown: tools and the examples that need no others, and for a second plan what failed.

        Raises:
            InputError: the request is empty or too long for the model.
        """
        check_request(request)
        tools = self.choose(request, earlier) if tools is None else tools
        failed = [(round.plan, observations(round)) for round in earlier]
        examples = self.index.nearest(request, self.template.examples, tools) if self.index else ()
        prompt = self.template.plan(request, now, tools, examples, failed)
        return check_fits(prompt, self.model.count_tokens, self.model.context, MAX_NEW_TOKENS)

    def write(self, request: str, now: datetime, earlier: Sequence[Round] = ()) -> Generator[str, None, None]:
        """The plan's text, piece by piece, from its first step on; raises what `prompt` raises."""
        tools, everything = self.choose(request, earlier), self.retriever.tools
        if len(tools) < len(everything):
            with closing(self._pieces(self.prompt(request, now, earlier, tools), tools)) as pieces:
                held = ""
                for piece in pieces:
                    held += piece
                    if (fits := first_step_fits(held, tools)) is not None:
                        break
                if held and fits:
                    yield held
                    yield from pieces
                    return
        yield from self._pieces(self.prompt(request, now, earlier, everything), everything)

    def write_all(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Planned]:
        """A plan for every row {"id", "request", "now"}, by id.

        Raises:
            InputError: a prompt is too long for the model.
        """
        everything = self.retriever.tools
        found = dict(zip((row["id"] for row in rows), self.retriever.retrieve([row["request"] for row in rows])))
        shown = {id: tools or everything for id, tools in found.items()}
        parts = self.model, self.template
        plans = write_plans(*parts, rows, tools=lambda row: shown[row["id"]], index=self.index)
        few = [row for row in rows if len(shown[row["id"]]) < len(everything)]
        wrong = [row for row in few if not first_step_fits(plans[row["id"]], shown[row["id"]])]
        again = write_plans(*parts, wrong, tools=lambda row: everything, index=self.index) if wrong else {}
        made = {id: Planned(plan, list(found[id]), list(shown[id])) for id, plan in plans.items()}
        return made | {id: Planned(plan, list(found[id]), list(everything), True) for id, plan in again.items()}

    def _pieces(self, prompt: str, tools: Mapping[str, Tool]) -> Generator[str, None, None]:
        self.shown = list(tools)
        with closing(self.model.stream(prompt)) as pieces:
            yield from self.template.read(pieces)

    async def stream(self, request: str, now: datetime, earlier: Sequence[Round]) -> AsyncGenerator[str, None]:
        """The plan's text as the model writes it; the model works in a thread."""
        pieces, turn = self.write(request, now, earlier), None
        try:
            while True:
                turn = asyncio.ensure_future(asyncio.to_thread(next, pieces, None))
                if (piece := await asyncio.shield(turn)) is None:
                    break
                yield piece
        finally:  # also if cancelled: a generator can only be closed once its thread has come back
            if turn:
                await asyncio.wait([turn])
            pieces.close()


def first_step_fits(text: str, tools: Mapping[str, Tool]) -> bool | None:
    """Whether a plan, as far as it is written, begins with a call of one of these tools; None if that cannot be said yet."""
    reader = PlanReader(tools)
    try:
        reader.feed(text)
    except PlanError:
        return bool(reader.plan.steps)
    return True if reader.plan.steps else False if reader.finished else None


class ModelJoiner:
    """Lets the same model read the results."""

    def __init__(self, model: LanguageModel, template: PromptTemplate):
        self.model, self.template = model, template

    async def join(self, request: str, rounds: Sequence[Round], may_replan: bool) -> Join:
        """The model's verdict on the last round; if it cannot be read, one that only lists the results.

        A wish to plan again when that is not allowed becomes an admission.
        """
        last = rounds[-1]
        if not last.steps:
            problem = f" ({last.error})" if last.error else ""
            return Join(f"I found no way to do that with my tools{problem}.", "The plan is empty.")
        prompt = self.template.join(request, last.plan, observations(last))
        try:
            check_fits(prompt, self.model.count_tokens, self.model.context, MAX_NEW_TOKENS)
            [text] = await asyncio.to_thread(self.model.complete, [prompt])
            join = parse_join(text.removesuffix(END_OF_PLAN))
        except (InputError, JoinError):
            join = Join(
                " ".join(observations(last)),
                "The joiner could not read the results, or wrote nothing that can be read.",
            )
        if join.replan and not may_replan:
            return Join(f"I could not do all of it: {'; '.join(last.problems)}.", join.thought)
        return join


def observations(round: Round) -> list[str]:
    """What each step of a round returned, as the model reads it: one line, shortened; errors begin with "Error:"."""
    texts = [f"Error: {step.error}" if step.error else step.observation for step in round.steps]
    return [" ".join(text.split())[:MAX_OBSERVATION] for text in texts]


def write_plans(
    model: LanguageModel,
    template: PromptTemplate,
    rows: Sequence[Mapping[str, Any]],
    *,
    tools: Callable[[Mapping[str, Any]], Mapping[str, Tool]] = lambda row: MAC_TOOLS,
    index: ExampleIndex | None = None,
) -> dict[str, str]:
    """A plan for every row {"id", "request", "now"}, by id; `tools` says which are shown for a row.

    Raises:
        InputError: a prompt is too long for the model, or the model was trained on another template.
    """
    check_template(model, template)
    prompts = []
    for row in rows:
        examples = index.nearest(row["request"], template.examples, tools(row)) if index else ()
        prompt = template.plan(row["request"], moment_of(row["now"]), tools(row), examples)
        try:
            prompts.append(check_fits(prompt, model.count_tokens, model.context, MAX_NEW_TOKENS))
        except InputError as error:
            raise InputError(f"{row['id']!r}: {error}") from None
    plans = ("".join(template.read([text])) for text in model.complete(prompts))
    return dict(zip((row["id"] for row in rows), plans, strict=True))


def plan_file(
    planner: ModelPlanner,
    source: Path,
    target: Path,
    report: Callable[[str], None] = lambda line: None,
    chunk: int = 64,
) -> int:
    """Write {"id", "plan", "tools"} to `target` for every line {"id", "request", "now"} of `source`; return how many.

    A target that is there already is added to: ids that it holds are skipped.

    Raises:
        InputError: a line is malformed, an id stands in it twice, or a request does not fit the model.
    """
    rows = _requests(source)
    log = Log(target)
    try:
        done = {row["id"] for row in read_jsonl(target, ("id", "plan"))}
        left = [row for row in rows if row["id"] not in done]
        for start in range(0, len(left), chunk):
            rows_now = left[start : start + chunk]
            plans = planner.write_all(rows_now)
            for id, planned in plans.items():
                log.append({"id": id, "plan": planned.plan, "tools": planned.tools})
            report(f"{len(done) + start + len(plans):,} of {len(rows):,} plans")
    finally:
        log.close()
    return len(left)


def _requests(source: Path) -> list[dict[str, Any]]:
    """The lines of a file of requests, all of them checked before the first is planned."""
    rows, seen = list(read_jsonl(source, ("id", "request", "now"))), set()
    for row in rows:
        try:
            row["now"] = str(moment_of(row["now"]))
            check_request(row["request"])
        except ValueError as error:
            raise InputError(f"{source}, {row['id']!r}: {error}") from None
        if row["id"] in seen:
            raise InputError(f"{source}: id {row['id']!r} stands in it twice; every id may occur once")
        seen.add(row["id"])
    return rows
