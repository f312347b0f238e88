"""DPO and GRPO: what they learn, what they leave, that they resume, and that both go on from an adapter."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from trl import GRPOTrainer

from tinyagent_helpers import alignment
from tinyagent_helpers.alignment import (
    Aligning,
    aligning_pairs,
    dpo_trainer,
    grpo_trainer,
    load_trainable,
    prefer,
    reinforce,
)
from tinyagent_helpers.artifacts import DATA, InputError, read_json, read_jsonl, write_json
from tinyagent_helpers.examples import training_pairs
from tinyagent_helpers.models import load_planner
from tinyagent_helpers.preferences import Preference, agentbank_pairs, turns_of
from tinyagent_helpers.profiles import PROFILES
from tinyagent_helpers.prompts import NANO_TEMPLATE
from tinyagent_helpers.synthesis import RecordedTeacher, synthesize
from tinyagent_helpers.training import FineTuning, fine_tune
from tinyagent_helpers.transformers_model import TransformersModel, load_base

NANO = PROFILES["nano"]
TINY = Aligning(4, 1e-2, 4, 0.1, generations=2, longest=8, micro_batch=4, validation=2, epochs=3, bf16=False)


@pytest.fixture(scope="module")
def home(tmp_path_factory, tiny):
    """A folder with an untrained base, an adapter for it, and a little data."""
    folder = tmp_path_factory.mktemp("alignment")
    model, tokenizer = deepcopy(tiny[0]), tiny[1]
    model.model.embed_tokens.weight.data *= 6  # else all tokens are about as likely, whatever the layers say
    for part in (model, tokenizer):
        part.save_pretrained(folder / "base")
    synthesize(RecordedTeacher(), 60, 0, folder / "data")
    rows = list(read_jsonl(folder / "data" / "train.jsonl"))[:4]
    settings = FineTuning(4, 1, 1e-2, 4, rank=4, alpha=8, negatives=1, validation=0, bf16=False)
    pairs = training_pairs(rows, NANO_TEMPLATE, 0, 1)
    source = {"base": str(folder / "base"), "weights": "w", "profile": "nano", "tools": "t"}
    fine_tune(load_base(NANO, folder / "base"), pairs, [], NANO_TEMPLATE, settings, folder / "start", source, print)
    return folder


@pytest.fixture
def short_answers(monkeypatch):
    """An untrained model never stops by itself: keep what it may write short."""
    monkeypatch.setattr(TransformersModel.complete, "__defaults__", (8,))


def rows_of(home):
    return list(read_jsonl(home / "data" / "train.jsonl"))[:4]


def preferences(home):
    pairs = aligning_pairs(2 * rows_of(home), NANO_TEMPLATE, TINY)
    return [Preference(str(n), pair.prompt, pair.completion, "1. join()<END_OF_PLAN>") for n, pair in enumerate(pairs)]


def favour_vowels(plan, gold):
    return sum(letter in "aeiou" for letter in plan) / max(1, len(plan))


def run(home, method, name, settings=TINY, validation=(), report=lambda line: None, **more):
    parts = validation, NANO_TEMPLATE, settings, home / name, report
    if method == "dpo":
        return prefer(NANO, home / "start", preferences(home), *parts, **more)
    return reinforce(NANO, home / "start", rows_of(home), *parts, weights={favour_vowels: 1.0}, **more)


def weights(folder):
    return load_file(folder / "adapter_model.safetensors")


@pytest.mark.parametrize("method", ["dpo", "grpo"])
def test_a_run_leaves_an_adapter_that_differs_and_is_not_done_twice(home, method, short_answers):
    manifest = run(home, method, method, validation=rows_of(home)[:2])
    assert manifest["finished"] and manifest["method"] == method and manifest["tokens"] > 0
    assert manifest["settings"]["rank"] == 4 and manifest["log"][0] == {"eval_success": 0.0, "step": 0}
    files = {path.name for path in (home / method).iterdir()}
    assert "adapter_model.safetensors" in files and not {"ref", "checkpoints", "training_args.bin"} & files
    start, made = weights(home / "start"), weights(home / method)
    assert made.keys() == start.keys() and any(not torch.equal(made[key], start[key]) for key in start)
    assert run(home, method, method, validation=rows_of(home)[:2]) == manifest
    with pytest.raises(InputError, match="holds a run with other settings"):
        run(home, method, method, replace(TINY, rate=1e-3), validation=rows_of(home)[:2])
    assert run(home, method, f"{method}-again", validation=rows_of(home)[:2])["start"] == manifest["start"]


@pytest.mark.parametrize("method", ["dpo", "grpo"])
def test_a_run_that_was_killed_goes_on_and_ends_alike(home, method, monkeypatch):
    class Killed(BaseException):
        pass

    def die_in_the_third_step(self, *arguments, **named):
        calls.append(1)
        if len(calls) == 3:
            raise Killed
        return step(self, *arguments, **named)

    kind, calls = getattr(alignment, f"_{method.upper()}"), []
    step, settings = kind.training_step, replace(TINY, epochs=1, batch=2, micro_batch=2)
    monkeypatch.setattr("tinyagent_helpers.trainer.SAVE_STEPS", 1)
    run(home, method, f"{method}-straight", settings)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(kind, "training_step", die_in_the_third_step)
        run(home, method, f"{method}-parts", settings)
    left = home / f"{method}-parts" / "checkpoints"
    assert [path.name for path in left.glob("checkpoint-*")] == ["checkpoint-2"], "the last whole step"
    run(home, method, f"{method}-parts", settings)
    one, other = (weights(home / f"{method}-{name}") for name in ("straight", "parts"))
    assert all(torch.allclose(one[key], other[key], atol=1e-5) for key in one)


def test_dpo_parts_chosen_from_rejected_answers(home):
    manifest = run(home, "dpo", "dpo-long", replace(TINY, epochs=20))
    first, last = manifest["log"][0], manifest["log"][-1]
    assert last["rewards/margins"] > first["rewards/margins"] and last["rewards/accuracies"] == 1
    assert last["rewards/margins"] == pytest.approx(last["rewards/chosen"] - last["rewards/rejected"], abs=1e-3)


def test_the_chosen_plans_own_likelihood_lifts_them(home):
    last = [
        run(home, "dpo", f"dpo-likelihood-{weight}", replace(TINY, epochs=20, likelihood=weight))["log"][-1]
        for weight in (0.0, 1.0)
    ]
    assert last[1]["rewards/chosen"] > last[0]["rewards/chosen"] + 0.01


def test_dpo_compares_with_the_adapter_it_started_from(home):
    model, tokenizer = load_trainable(NANO, home / "start", TINY)
    trainer = dpo_trainer((model, tokenizer), preferences(home), [], NANO_TEMPLATE, TINY, home / "look", print)
    batch = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))

    def loss():
        with torch.no_grad():
            return trainer.compute_loss(trainer.model, batch).item()

    assert loss() == pytest.approx(0.6931, abs=1e-3), "log 2: as likely as at the start"
    for name, weight in trainer.model.named_parameters():
        if ".ref." in name and "lora_B" in name:
            weight.data.zero_()  # as if the base were the start
    assert abs(loss() - 0.6931) > 1e-2


def test_grpo_finds_what_is_rewarded(home):
    settings = replace(TINY, epochs=25, generations=8, batch=16, micro_batch=16, beta=0.0)
    manifest = run(home, "grpo", "grpo-long", settings)
    earned = [entry["reward"] for entry in manifest["log"] if "reward" in entry]
    assert sum(earned[-3:]) / 3 > sum(earned[:3]) / 3 + 0.1


def test_grpo_asks_rewards_about_plans_as_people_read_them(home):
    seen = []

    def remember(plan, gold):
        seen.append((plan, gold))
        return 0.0

    reward = alignment._as_trl(remember, NANO_TEMPLATE)
    assert reward(completions=['1. f(" Sid")'], gold=["1. f()"], prompts=["p"]) == [0.0]
    assert reward(completions=[[{"role": "assistant", "content": '1. f(" Sid")'}]], gold=["1. f()"]) == [0.0]
    assert seen == [('1. f("Sid")', "1. f()")] * 2


def test_grpo_gives_a_plan_its_advantage_over_its_group(home):
    settings = replace(TINY, generations=4, batch=8, micro_batch=8)
    pairs, plans = aligning_pairs(rows_of(home), NANO_TEMPLATE, settings), [row["plan"] for row in rows_of(home)]
    parts = pairs, plans, [], NANO_TEMPLATE, settings, home / "look", print, {favour_vowels: 1.0}
    trainer = grpo_trainer(load_trainable(NANO, home / "start", settings), *parts)
    made = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
    texts = trainer.processing_class.batch_decode(made["completion_ids"], skip_special_tokens=True)
    earned = torch.tensor([favour_vowels("".join(NANO_TEMPLATE.read([text])), "") for text in texts])
    _, group = made["prompt_ids"].unique(dim=0, return_inverse=True)
    assert group.max() == 1 and made["advantages"].abs().max() > 0.1
    for number in (0, 1):
        mine = earned[group == number]
        assert torch.allclose(
            made["advantages"][group == number], (mine - mine.mean()) / (mine.std() + 1e-4), atol=1e-3
        )


def test_a_reward_that_was_changed_is_another_run(home):
    run(home, "grpo", "grpo-first")

    def favour_vowels(plan, gold):
        return 1.0

    with pytest.raises(InputError, match="holds a run with other rewards"):
        reinforce(
            NANO,
            home / "start",
            rows_of(home),
            (),
            NANO_TEMPLATE,
            TINY,
            home / "grpo-first",
            print,
            {favour_vowels: 1.0},
        )


def test_reading_a_prompt_once_changes_nothing(home):
    pairs, plans = aligning_pairs(rows_of(home), NANO_TEMPLATE, TINY), [row["plan"] for row in rows_of(home)]
    parts = pairs, plans, [], NANO_TEMPLATE, TINY, home / "look", print, {favour_vowels: 1.0}
    trainer = grpo_trainer(load_trainable(NANO, home / "start", TINY), *parts)
    made = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
    ids, mask = (torch.cat([made[f"prompt_{what}"], made[f"completion_{what}"]], dim=1) for what in ("ids", "mask"))
    length, learned = made["completion_ids"].shape[1], made["completion_mask"].bool()
    assert (mask[:, 0] == 0).any() and len(ids[:, :-length].unique(dim=0)) > 1, "prompts that differ in length"
    with torch.no_grad():
        logps, entropies, _ = trainer._get_per_token_logps_and_entropies(
            trainer.model, ids, mask, length, compute_entropy=True
        )
        theirs, their_entropies, _ = GRPOTrainer._get_per_token_logps_and_entropies(
            trainer, trainer.model, ids, mask, length, compute_entropy=True
        )
    assert torch.allclose(logps[learned], theirs[learned], atol=1e-4)
    assert torch.allclose(entropies[learned], their_entropies[learned], atol=1e-4)


def test_an_aligned_adapter_is_a_planner_and_a_start(home, tiny):
    run(home, "dpo", "dpo-first")
    found = read_json(home / "dpo-first" / "manifest.json")
    write_json(
        home / "dpo-first" / "manifest.json", found | {"weights": ""}
    )  # those of the untrained base were not noted
    assert load_planner(NANO, home / "dpo-first").template == NANO_TEMPLATE.hash
    write_json(home / "dpo-first" / "manifest.json", found)
    settings = replace(TINY, epochs=1)
    made = reinforce(NANO, home / "dpo-first", rows_of(home), [], NANO_TEMPLATE, settings, home / "both", print)
    assert made["finished"] and made["start"] and made["base"] == str(home / "base")


def test_agentbank_can_be_learned_from(home, tiny):
    sample = list(read_jsonl(DATA / "agentbank" / "sample.jsonl"))
    answers = {id: "wait" for one in sample for id, _, _ in turns_of(one)}
    kept, _ = agentbank_pairs(sample, answers)
    model, tokenizer = load_trainable(NANO, home / "start", TINY)
    tokenizer.chat_template = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"  # fmt: skip
    trainer = dpo_trainer((model, tokenizer), kept[:4], [], NANO_TEMPLATE, TINY, home / "bank", print)
    assert trainer.train().training_loss < 0.6931


def test_what_cannot_be_done_is_said(home, tmp_path):
    with pytest.raises(InputError, match="DPO needs pairs"):
        prefer(NANO, home / "start", [], [], NANO_TEMPLATE, TINY, tmp_path, print)
    with pytest.raises(InputError, match="GRPO needs 2 requests for a step, and there are 0"):
        reinforce(NANO, home / "start", [], [], NANO_TEMPLATE, TINY, tmp_path, print)
    with pytest.raises(InputError, match="there is no adapter in"):
        reinforce(NANO, home / "nowhere", rows_of(home), [], NANO_TEMPLATE, TINY, tmp_path, print)
    other = replace(NANO_TEMPLATE, guidelines=True)
    with pytest.raises(InputError, match="has other template"):
        prefer(NANO, home / "start", preferences(home), [], other, TINY, tmp_path, print)
    assert list(tmp_path.iterdir()) == []
