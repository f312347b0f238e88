"""Fine-tuning: what is learned, that it resumes, and that several processes do the same as one."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from tinyagent_helpers.artifacts import ROOT, InputError, read_json, read_jsonl
from tinyagent_helpers.cli import main
from tinyagent_helpers.examples import Pair, training_pairs
from tinyagent_helpers.models import load_planner
from tinyagent_helpers.profiles import PROFILES
from tinyagent_helpers.prompts import NANO_TEMPLATE, template_of
from tinyagent_helpers.synthesis import RecordedTeacher, synthesize
from tinyagent_helpers.trainer import GroupedByLength, PlannerTrainer
from tinyagent_helpers.training import SETTINGS, FineTuning, fine_tune, make_trainer, train_planner
from tinyagent_helpers.transformers_model import UNSEEN, TransformersModel, load_base

NANO = PROFILES["nano"]
TINY = FineTuning(rows=16, epochs=3, rate=1e-2, batch=8, rank=4, alpha=8, negatives=1, validation=2, bf16=False)


@pytest.fixture(scope="module")
def home(tmp_path_factory, tiny):
    """A folder with an untrained base and a little data."""
    folder = tmp_path_factory.mktemp("training")
    for part in tiny:
        part.save_pretrained(folder / "base")
    synthesize(RecordedTeacher(), 120, 0, folder / "data")
    return folder


@pytest.fixture
def short_answers(monkeypatch):
    """An untrained model never stops by itself: keep what it may write short."""
    monkeypatch.setattr(TransformersModel.complete, "__defaults__", (8,))


def train(home, name, settings=TINY, report=lambda line: None, **more):
    rows = list(read_jsonl(home / "data" / "train.jsonl"))
    pairs = training_pairs(rows[: settings.rows], NANO_TEMPLATE, settings.seed, settings.negatives)
    validation = rows[len(rows) - settings.validation :]
    base = load_base(NANO, home / "base", settings.four_bits)
    return fine_tune(base, pairs, validation, NANO_TEMPLATE, settings, home / name, {"base": "tiny"}, report, **more)


def test_only_completions_are_learned_and_nothing_is_cut(home):
    pair = Pair("Question: a\nPlan:\n", "1. join()<END_OF_PLAN>", "plan")
    base = load_base(NANO, home / "base")
    trainer = make_trainer(base, [pair] * 2, [], NANO_TEMPLATE, TINY, home / "mask", lambda line: None)
    batch = next(iter(trainer.get_train_dataloader()))
    tokenizer = base[1]
    learned = batch["input_ids"][0][batch["labels"][0] != UNSEEN]
    assert tokenizer.decode(learned) == pair.completion and learned[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(batch["input_ids"][0][: len(tokenizer(pair.prompt)["input_ids"])]) == pair.prompt


def test_the_loss_is_the_mean_over_the_completions_tokens(home):
    pairs = [Pair("a b c ", "1. join()<END_OF_PLAN>", "plan"), Pair("a much longer prompt ", "2. x()", "plan")]
    model, tokenizer = load_base(NANO, home / "base")
    trainer = make_trainer((model, tokenizer), pairs, [], NANO_TEMPLATE, TINY, home / "loss", lambda line: None)
    batch = next(iter(trainer.get_train_dataloader()))
    counted = (batch["labels"] != UNSEEN).sum()
    with torch.no_grad():
        expected = model(**batch).loss
        found = trainer.compute_loss(trainer.model, dict(batch), num_items_in_batch=counted)
    assert found.item() == pytest.approx(expected.item(), abs=1e-4)


def test_a_run_leaves_an_adapter_with_a_manifest_and_is_not_done_twice(home, short_answers):
    lines = []
    manifest = train(home, "whole", report=lines.append)
    folder = home / "whole"
    assert manifest["template"] == NANO_TEMPLATE.hash and manifest["settings"]["rank"] == 4 and manifest["finished"]
    assert {p.name for p in folder.iterdir()} >= {"adapter_model.safetensors", "adapter_config.json", "manifest.json"}
    assert not list(folder.rglob("*.bin")) + list(folder.rglob("*.pt")) + list(folder.rglob("*.pth"))
    assert any("success" in line and "min left" in line for line in lines)
    assert train(home, "whole") == manifest
    with pytest.raises(InputError, match="a run with other settings"):
        train(home, "whole", replace(TINY, rank=8))
    assert manifest["seconds"] > 0 and "cores" in manifest["hardware"]


def test_an_older_run_is_replaced_only_if_that_is_wanted(home, short_answers):
    quick = replace(TINY, epochs=1, validation=0)
    train(home, "again", quick)
    assert train(home, "again", replace(quick, rank=8), anew=True)["settings"]["rank"] == 8
    with pytest.raises(InputError, match="a run with other settings"):
        train(home, "again", quick)


def test_a_batch_that_cannot_be_split_is_refused(home):
    with pytest.raises(InputError, match="a batch of 12 .* choose a multiple of 8"):
        train(home, "uneven", replace(TINY, batch=12, micro_batch=8))


def test_a_run_that_was_killed_goes_on_and_ends_alike(home, short_answers):
    class Killed(BaseException):
        pass

    def kill(line):
        told.append(line)
        if len(told) == 3:
            raise Killed

    told, steps = [], []
    train(home, "whole")
    with pytest.raises(Killed):
        train(home, "parts", report=kill)
    checkpoint = max((home / "parts" / "checkpoints").glob("checkpoint-*"), key=lambda path: int(path.name[11:]))
    assert not read_json(home / "parts" / "manifest.json")["finished"]
    shutil.copytree(checkpoint, checkpoint.with_name("checkpoint-999"))
    (checkpoint.with_name("checkpoint-999") / "trainer_state.json").unlink()  # killed while it was written
    train(home, "parts", report=steps.append)
    assert "success" in told[0] and "success" in steps[0] and len(steps) == 1 and len(told) == 3
    taken = [read_json(home / name / "manifest.json")["seconds"] for name in ("whole", "parts")]
    assert taken[1] > taken[0] / 2, "the killed process' work counts, too"
    one, other = (load_file(home / name / "adapter_model.safetensors") for name in ("whole", "parts"))
    assert all(torch.allclose(one[key], other[key], atol=1e-5) for key in one)


def test_a_run_killed_within_an_epoch_ends_like_a_straight_one(home, short_answers, monkeypatch):
    class Killed(BaseException):
        pass

    def die_in_the_second_step(*arguments, **named):
        calls.append(1)
        if len(calls) == 2:
            raise Killed
        return loss(*arguments, **named)

    calls, loss = [], PlannerTrainer.compute_loss
    muon = replace(TINY, muon=True, weight_decay=0.1)
    train(home, "straight", muon)
    monkeypatch.setattr("tinyagent_helpers.trainer.SAVE_STEPS", 1)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(PlannerTrainer, "compute_loss", die_in_the_second_step)
        train(home, "within", muon)
    assert [path.parent.name for path in (home / "within").rglob("trainer_state.json")] == ["checkpoint-1"]
    assert train(home, "within", muon)["finished"]
    one, other = (load_file(home / name / "adapter_model.safetensors") for name in ("straight", "within"))
    assert all(torch.allclose(one[key], other[key], atol=1e-5) for key in one)


def test_batches_are_of_like_length_in_an_order_of_their_own():
    lengths = [10, 500] * 8 + [10]
    sampler = GroupedByLength(lengths, 4, seed=0)
    order = list(sampler)
    batches = [{lengths[i] for i in order[start : start + 4]} for start in range(0, 16, 4)]
    assert sorted(order) == list(range(17)) and sum(len(batch) > 1 for batch in batches) <= 1
    torch.manual_seed(5)
    assert order == list(GroupedByLength(lengths, 4, seed=0))
    sampler.set_epoch(1)
    assert order != list(sampler)


def test_a_run_goes_on_from_an_earlier_adapter(home, short_answers):
    train(home, "whole")
    still = replace(TINY, rate=0.0, epochs=1, validation=0)
    assert train(home, "second", still, start=home / "whole")["start"]
    one, other = (load_file(home / name / "adapter_model.safetensors") for name in ("whole", "second"))
    assert all(torch.equal(one[key], other[key]) for key in one)
    for settings in (replace(still, rank=8), replace(still, rank=0)):
        with pytest.raises(InputError, match="has other rank"):
            train(home, "third", settings, start=home / "whole")
    with pytest.raises(InputError, match="a run with other start"):
        train(home, "second", still)
    with pytest.raises(InputError, match="nowhere"):
        train(home, "third", still, start=home / "nowhere")


def test_training_teaches(home, short_answers):
    losses = []
    settings = replace(TINY, epochs=80, rows=4, batch=4, validation=1, rank=0, alpha=0)
    train(home, "taught", settings, lambda line: losses.append(line))
    values = [float(line.split("loss ")[1].split(",")[0]) for line in losses if "loss" in line]
    assert values[-1] < values[0] / 2


def test_all_weights_can_be_trained_instead(home, short_answers):
    train(home, "full", replace(TINY, rank=0, alpha=0, epochs=1))
    assert not (home / "full" / "adapter_config.json").exists()
    planner = load_planner(NANO, home / "full")
    assert planner.template == NANO_TEMPLATE.hash
    assert not torch.equal(planner.model.lm_head.weight, load_base(NANO, home / "base")[0].lm_head.weight)


def test_a_base_in_four_bits_can_be_trained(home, short_answers):
    manifest = train(home, "four", replace(TINY, four_bits=True, checkpointing=True, epochs=1, validation=1))
    assert manifest["settings"]["four_bits"] and (home / "four" / "adapter_model.safetensors").exists()


def test_what_would_be_cut_off_is_refused(home):
    model, tokenizer = load_base(NANO, home / "base")
    model.config.max_position_embeddings = 50
    pairs = [Pair("x " * 100, PLAN, "plan")]
    with pytest.raises(InputError, match="example 0 has .* but the model reads 50"):
        fine_tune((model, tokenizer), pairs, [], NANO_TEMPLATE, TINY, home / "long", {}, print)


def test_profiles_differ_in_values_only():
    assert set(SETTINGS) == set(PROFILES)
    for name in ("gpu", "paper"):
        assert SETTINGS[name].epochs == 3 and SETTINGS[name].rate == 7e-5 and template_of(PROFILES[name]).examples
    assert SETTINGS["gpu"].four_bits and not SETTINGS["nano"].four_bits


def test_training_without_data_is_refused(home, tmp_path):
    (tmp_path / "train.jsonl").write_text("")
    with pytest.raises(InputError, match="run tinyagent synthesize first"):
        train_planner(NANO, tmp_path, tmp_path / "out", {}, print, home / "base")


def test_the_command_line_trains_and_plans(home, tmp_path, capsys, short_answers, monkeypatch):
    monkeypatch.setitem(SETTINGS, "nano", TINY)
    arguments = ["--data", str(home / "data"), "--base", str(home / "base"), "--rows", "8", "--epochs", "1", "--json"]
    assert main(["train", *arguments, "--output", str(tmp_path / "adapter")]) == 0
    assert json.loads(capsys.readouterr().out)["settings"]["rows"] == 8
    source = home / "data" / "test_draws.jsonl"
    command = [
        "plan",
        "--input",
        str(source),
        "--output",
        str(tmp_path / "p.jsonl"),
        "--model",
        str(tmp_path / "adapter"),
    ]
    assert main(command) == 0 and main(command) == 0
    assert len(list(read_jsonl(tmp_path / "p.jsonl"))) == len(list(read_jsonl(source)))
    assert main(["score", "--gold", str(source), "--pred", str(tmp_path / "p.jsonl")]) == 0
    capsys.readouterr()
    measure = ["evaluate", "--data", str(home / "data"), "--limit", "1", "--model", str(tmp_path / "adapter"), "--json"]
    assert main(measure) == 0
    assert [row["n"] for row in json.loads(capsys.readouterr().out)["figures"]] == [1, 1, 1, 1]
    assert main(["train", *arguments, "--output", str(tmp_path / "whole"), "--full"]) == 0
    assert json.loads(capsys.readouterr().out)["settings"]["rank"] == 0 and not list(tmp_path.glob("whole/adapter_*"))


@pytest.mark.minutes
def test_two_processes_do_the_same_as_one(home, tmp_path):
    """Every step takes all examples, so it must not matter which process reads which."""
    shutil.copytree(home / "data", tmp_path / "data")
    (tmp_path / "data" / "validation.jsonl").write_text("")  # so that the last weights are kept, not the best
    launcher = ["-m", "accelerate.commands.launch", "--cpu", "--num_processes"]
    common = [
        "--data",
        tmp_path / "data",
        "--base",
        home / "base",
        "--rows",
        "8",
        "--epochs",
        "6",
        "--batch",
        "16",
        "--json",
    ]
    losses, adapters = [], []
    for number in ("1", "2"):
        output = tmp_path / number
        command = [sys.executable, *launcher, number, "-m", "tinyagent_helpers", "train", *common, "--output", output]
        environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        done = subprocess.run(map(str, command), capture_output=True, text=True, cwd=ROOT, env=environment)
        assert done.returncode == 0, done.stderr[-3000:]
        assert json.loads(done.stdout)["finished"], "one process speaks for all"
        losses.append(read_json(output / "manifest.json")["loss"])
        learned = load_file(output / "adapter_model.safetensors")
        adapters.append(torch.cat([t.flatten() for name, t in sorted(learned.items()) if "lora_B" in name]))
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)
    assert torch.cosine_similarity(*adapters, dim=0) > 0.95


PLAN = "1. join()<END_OF_PLAN>"
