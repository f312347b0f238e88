"""Which way of training makes a small planner better? The same start, rows and tests for all.

Source of the question: TinyLLM (arXiv 2511.22138). Read and discussed in notebook 05; made by `tinyagent compare`, whose
runs are kept and gone on with.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from tinyagent_helpers.alignment import DPO, GRPO, Aligning, aligning_pairs, prefer, reinforce
from tinyagent_helpers.artifacts import InputError, digest_text, make_folder, once, read_json, read_jsonl, write_json
from tinyagent_helpers.evaluation import needed_tools, read_test_splits
from tinyagent_helpers.examples import training_pairs
from tinyagent_helpers.models import LanguageModel, read_manifest
from tinyagent_helpers.planner import write_plans
from tinyagent_helpers.preferences import Preference, preference_pairs
from tinyagent_helpers.profiles import Profile
from tinyagent_helpers.prompts import ExampleIndex, PromptTemplate, template_of
from tinyagent_helpers.quantize import quick
from tinyagent_helpers.scoring import arguments_agree, mcnemar, success, wilson
from tinyagent_helpers.tools import Tool
from tinyagent_helpers.training import SETTINGS, FineTuning, fine_tune, provenance, without_adapter
from tinyagent_helpers.transformers_model import TransformersModel, load_base, load_trained

LORA, FULL, OWN = "LoRA", "SFT, all weights", "LoRA, DPO on own mistakes"
WAYS = ("base", "start", LORA, FULL, "LoRA, DPO", OWN, "LoRA, GRPO", "LoRA, GRPO, DPO")
Report = Callable[[str], None]


@dataclass(frozen=True)
class Comparing:
    """How much each way gets, meant to take about as long: the start learns from `rows` rows, fine-tuning without a second
    step from twice as many; DPO goes on with `dpo` other rows, GRPO with `grpo`. `limit` requests of every test split judge.

    Prompts show the tools that are needed and no others, in training and in the tests: what is compared is planning, and a
    planner learns that within minutes where it needs not learn to choose."""

    rows: int = 600
    dpo: int = 128
    grpo: int = 56
    limit: int = 60


@dataclass(frozen=True)
class Ways:
    """The ways of one seed: each is trained when it is asked for, and kept in a folder of its own. The start learns from the
    first half of `rows`, what goes on from it from the second, and what does not from all."""

    profile: Profile
    rows: Sequence[Mapping[str, Any]]
    folder: Path
    seed: int
    settings: Comparing
    report: Report

    def train(self, way: str) -> list[Path]:
        """The folders of the steps that this way takes, the last one with what it leads to.

        Raises:
            InputError: there is no such way.
        """
        if way not in WAYS[1:]:
            raise InputError(f"there is no way {way!r}; choose one of {', '.join(WAYS[1:])}")
        half = len(self.rows) // 2
        same = {"seed": self.seed, "validation": 0, "negatives": 0}
        dpo = replace(DPO[self.profile.name], rows=self.settings.dpo, **same)
        grpo = replace(GRPO[self.profile.name], rows=self.settings.grpo, **same)
        if way == "start":
            return [self._tune(way, self.rows[:half])]
        if way in (LORA, FULL):
            return [self._tune(way, self.rows, full=way == FULL)]
        [start] = self.train("start")
        if way in ("LoRA, DPO", OWN):
            return [start, self._prefer(way, start, dpo)]
        if way == "LoRA, GRPO":
            return [start, self._reinforce(way, start, grpo)]
        between = self._reinforce("half of GRPO", start, replace(grpo, rows=grpo.rows // 2))
        return [start, between, self._prefer(way, between, replace(dpo, rows=dpo.rows // 2))]

    def _tune(self, way: str, rows: Sequence[Mapping[str, Any]], full: bool = False) -> Path:
        settings = replace(SETTINGS[self.profile.name], rows=len(rows), negatives=0, validation=0, seed=self.seed)
        settings = without_adapter(settings) if full else settings
        base = load_base(self.profile, four_bits=settings.four_bits)
        return _tune(self.profile, base, rows, self._folder(way), settings, self.report)

    def _prefer(self, way: str, start: Path, settings: Aligning) -> Path:
        folder, template = make_folder(self._folder(way)), template_of(self.profile, 0)
        weaker = (
            load_trained(self.profile, start)
            if way == OWN
            else TransformersModel(*load_base(self.profile), name="base")
        )
        rows = self.rows[len(self.rows) // 2 :][: settings.rows]
        pairs = rejected_pairs(weaker, rows, template, settings, folder / "pairs.json")
        prefer(self.profile, start, pairs, [], template, settings, folder, self.report)
        return folder

    def _reinforce(self, way: str, start: Path, settings: Aligning) -> Path:
        rows, template = self.rows[len(self.rows) // 2 :][: settings.rows], template_of(self.profile, 0)
        reinforce(self.profile, start, rows, [], template, settings, self._folder(way), self.report)
        return self._folder(way)

    def _folder(self, way: str) -> Path:
        return self.folder / way.replace(", ", "-").replace(" ", "-")


def rejected_pairs(
    weaker: TransformersModel,
    rows: Sequence[Mapping[str, Any]],
    template: PromptTemplate,
    settings: Aligning,
    path: Path,
    index: ExampleIndex | None = None,
) -> list[Preference]:
    """Pairs whose rejected answers a weaker model writes, those that are right after all left out. The answers are kept in
    `path`, with what they cost, and not written twice.

    Raises:
        InputError: the file holds answers to other prompts, or by another model.
    """
    prompts = [pair.prompt for pair in aligning_pairs(rows, template, settings, index)]
    asked = digest_text(repr((weaker.name, settings.longest, prompts)))
    if not path.exists():
        started = time.process_time()
        answers = weaker.complete(prompts, settings.longest)
        tokens = sum(map(weaker.count_tokens, [*prompts, *answers]))
        cost = {"core_seconds": time.process_time() - started, "tokens": tokens}
        write_json(path, {"asked": asked, "answers": answers} | cost)
    kept = read_json(path)
    if kept.get("asked") != asked:
        raise InputError(f"{path} holds answers to other prompts, or by another model; choose another folder")
    return preference_pairs(rows, prompts, kept["answers"], template)[0]


def _tune(
    profile: Profile, base: Any, rows: Sequence[Mapping[str, Any]], folder: Path, settings: FineTuning, report: Report
) -> Path:
    template, (model, tokenizer) = template_of(profile, 0), base
    pairs = training_pairs(rows, template, settings.seed, settings.negatives, all_tools=settings.all_tools)
    base = (model if settings.rank else model.float()), tokenizer  # in 16 bits a small step on a weight would be lost
    fine_tune(base, pairs, [], template, settings, folder, provenance(profile), report)
    return folder


def compare(
    profile: Profile,
    data: Path,
    folder: Path,
    seeds: Sequence[int],
    settings: Comparing,
    report: Report,
) -> list[dict[str, Any]]:
    """Train every way with every seed, each seed with rows of its own, and measure them all on the same requests.

    Returns:
        A row for every way, see `summary`. What was trained and measured is kept in `folder` and not done again.

    Raises:
        InputError: there are too few training rows, or the folder holds what was made of other settings or data.
    """
    tests, found = read_test_splits(data, settings.limit), {}
    usual = [kind[profile.name] for kind in (SETTINGS, DPO, GRPO)]
    for seed in seeds:
        rows = training_rows(data, seed, 2 * settings.rows)
        ways = Ways(profile, rows, make_folder(folder / f"seed{seed}"), seed, settings, report)
        for way in WAYS:

            def measure(way: str = way, ways: Ways = ways) -> dict[str, Any]:
                report(f"seed {ways.seed}: {way}")
                steps = [] if way == "base" else ways.train(way)
                model = load_trained(profile, steps[-1]) if steps else TransformersModel(*load_base(profile), name=way)
                return outcomes(quick(model, ways.folder / f"{way}.gguf"), template_of(profile, 0), tests) | costs(
                    steps
                )

            found[seed, way] = once(ways.folder / f"{way}.json", (settings, usual, rows, tests), measure)
    return summary(found, tests)


def training_rows(data: Path, seed: int, count: int) -> list[dict[str, Any]]:
    """Rows that no other seed gets.

    Raises:
        InputError: there are too few.
    """
    fields = ("id", "request", "now", "plan", "join")
    rows = list(islice(read_jsonl(data / "train.jsonl", fields), seed * count, (seed + 1) * count))
    if len(rows) < count:
        raise InputError(f"seed {seed} needs {(seed + 1) * count:,} training rows, {data} has fewer; synthesize more")
    return rows


def outcomes(
    model: LanguageModel,
    template: PromptTemplate,
    tests: Mapping[str, Sequence[Mapping[str, Any]]],
    tools: Callable[[Mapping[str, Any]], Mapping[str, Tool]] = needed_tools,
) -> dict[str, dict[str, list[bool]]]:
    """For every split, which requests a planner gets right ("success"), and which with their arguments ("arguments"); `tools`
    says which are shown for a row."""
    found: dict[str, dict[str, list[bool]]] = {"success": {}, "arguments": {}}
    for split, rows in tests.items():
        plans = write_plans(model, template, rows, tools=tools)
        pairs = [(plans[row["id"]], row["plan"]) for row in rows]
        found["success"][split] = [success(*pair) for pair in pairs]
        found["arguments"][split] = [arguments_agree(*pair) for pair in pairs]
    return found


def costs(steps: Sequence[Path]) -> dict[str, float]:
    """Tokens, and seconds that one processor core worked, of the steps of a way, the answers for pairs included."""
    kept = [read_json(step / "pairs.json") for step in steps if (step / "pairs.json").exists()]
    made = [*map(read_manifest, steps), *kept]
    return {name: sum(one[name] for one in made) for name in ("core_seconds", "tokens")}


def summary(
    found: Mapping[tuple[int, str], Mapping[str, Any]], tests: Mapping[str, Sequence[Any]], against: str = LORA
) -> list[dict[str, Any]]:
    """A row for every way: what it cost and how often it succeeds, in percent, means over seeds, with the 95 % interval of as
    many requests as one seed was asked; for how many requests (each once a seed) it alone is right or the way `against` alone,
    and how often chance would do that (McNemar's test)."""
    rows = []
    for way in dict.fromkeys(way for _, way in found):
        seeds = [seed for seed, one in found if one == way]
        runs = [found[seed, way] for seed in seeds]
        rates = [_mean(run["success"]) for run in runs]
        n = sum(map(len, tests.values()))
        low, high = wilson(round(n * sum(rates) / len(rates)), n)
        row = {"way": way, "seeds": len(seeds), "n": n}
        row |= {"M tokens": round(sum(run["tokens"] for run in runs) / len(runs) / 1e6, 3)}
        row |= {"core seconds": round(sum(run["core_seconds"] for run in runs) / len(runs))}
        for split in tests:
            row[f"{split.removeprefix('test_')}, %"] = _percent([_mean({split: run["success"][split]}) for run in runs])
        row |= {"all, %": _percent(rates), "interval": f"{100 * low:.0f} to {100 * high:.0f}"}
        row |= {"by seed": ", ".join(f"{100 * rate:.0f}" for rate in rates)}
        row |= {"arguments too, %": _percent([_mean(run["arguments"]) for run in runs])}
        if all((seed, against) in found for seed in seeds):
            row |= _against([_flat(run) for run in runs], [_flat(found[seed, against]) for seed in seeds], against)
        rows.append(row)
    return rows


def _against(runs: Sequence[list[bool]], others: Sequence[list[bool]], against: str) -> dict[str, Any]:
    mine, theirs = sum(runs, []), sum(others, [])
    better = sum(a and not b for a, b in zip(mine, theirs))
    worse = sum(b and not a for a, b in zip(mine, theirs))
    return {"only this right": better, f"only {against} right": worse, "p": float(f"{mcnemar(mine, theirs):.2g}")}


def _flat(run: Mapping[str, Any]) -> list[bool]:
    return [right for rights in run["success"].values() for right in rights]


def _mean(rights: Mapping[str, Sequence[bool]]) -> float:
    every = [right for some in rights.values() for right in some]
    return sum(every) / len(every)


def _percent(rates: Sequence[float]) -> float:
    return round(100 * sum(rates) / len(rates), 1)
