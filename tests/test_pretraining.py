"""Pre-training: what the base reads, the tokenizer, and a run that can be interrupted."""

import json
import re
from collections import Counter
from dataclasses import replace
from itertools import islice

import pytest
import torch
from safetensors.torch import load_file

from tinyagent_helpers.apis import load_domains, read_domain
from tinyagent_helpers.artifacts import DATA, InputError, read_json, read_jsonl
from tinyagent_helpers.cli import main
from tinyagent_helpers.curriculum import COPYING_FIRST, MIX, NOTHING_FITS, sheets
from tinyagent_helpers.plans import END_OF_PLAN, parse_plan
from tinyagent_helpers.pretraining import (
    UNSEEN,
    Settings,
    evaluate,
    export,
    load_checkpoint,
    new_model,
    pretrain,
    rate,
    rows,
    tensors_of,
    train_tokenizer,
)
from tinyagent_helpers.profiles import PROFILES
from tinyagent_helpers.prompts import NANO_TEMPLATE
from tinyagent_helpers.synthesis import content_words
from tinyagent_helpers.teacher import ScenarioError, load_patterns, values_of
from tinyagent_helpers.tools import MAC_TOOLS
from tinyagent_helpers.transformers_model import TransformersModel
from tinyagent_helpers.transformers_model import load_base as load_model

TINY = Settings(layers=1, heads=2, width=32, vocabulary=700, texts=300, row=1000, batch=2, steps=6)


@pytest.fixture(scope="module")
def sample():
    return [lesson for sheet in islice(sheets(0, COPYING_FIRST), 400) for lesson in sheet]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(2_000, 0, 1_000)


def test_there_are_many_apis_and_none_is_the_macs():
    domains = load_domains()
    tools = [name for domain in domains for name in domain.tools]
    assert len(domains) >= 40 and len(tools) == len(set(tools)) >= 400
    assert not set(tools) & set(MAC_TOOLS)
    asked = {content_words(p.request) for domain in domains for p in domain.patterns}
    assert not asked & {content_words(p.request) for p in load_patterns()}


def test_lessons_come_in_the_stated_mix():
    kinds = Counter(sheet[-1].kind for sheet in islice(sheets(0, COPYING_FIRST), 1_500))
    kinds["request"] += kinds.pop("nothing fits")
    assert all(abs(kinds[kind] / 1_500 - share) < 0.05 for kind, share in MIX.items())


def test_reordered_calls_follow_the_signature_that_is_shown():
    """Types would not fit if arguments and parameters were put into different orders."""
    seen = [lesson for sheet in islice(sheets(0, COPYING_FIRST), 200) for lesson in sheet if lesson.kind == "reordered"]
    orders = set()
    for lesson in seen:
        for step in parse_plan(lesson.plan, tools=None).steps:
            if shown := re.search(rf": {step.tool}\((.*)\)$", lesson.prompt, re.MULTILINE):
                types = re.findall(r"\w+: (str|int|float|bool|list|Literal)", shown[1])
                orders.add(tuple(types))
                for kind, value in zip(types, step.arguments):
                    text = {"int": int, "float": (int, float), "bool": bool, "list": list}.get(kind, str)
                    assert isinstance(value, text) or "$" in str(value), (step, shown[1])
    assert ("str", "int") in orders and ("int", "str") in orders


def test_copying_comes_first():
    kinds = [{lesson.kind for lesson in sheet} for sheet in islice(sheets(0, COPYING_FIRST - 50), 100)]
    assert kinds[:50] == [{"copy"}] * 50 and {"copy"} != set().union(*kinds[50:])


def test_lessons_show_the_tools_they_need(sample):
    asked = [lesson for lesson in sample if lesson.kind in ("request", "renamed", "reordered", "nothing fits")]
    assert 0 < sum(lesson.kind == "nothing fits" for lesson in asked) / len(asked) < 2 * NOTHING_FITS
    for lesson in sample:
        plan = parse_plan(lesson.plan, tools=None)
        assert all(f"{s.tool}(" in lesson.prompt or f'"name": "{s.tool}"' in lesson.prompt for s in plan.steps)
        assert (lesson.kind == "nothing fits") == (not plan.steps)


def test_most_sheets_show_something_that_cannot_be_known_by_heart(sample):
    asked = [lesson for lesson in sample if lesson.kind in ("request", "reordered", "renamed")]
    known = {value for domain in load_domains() for values in domain.values.values() for value in values}
    said = {
        a
        for lesson in asked
        for a in re.findall(r'" ([^"]+)"', lesson.plan)
        if a in lesson.prompt.rpartition("Question:")[2]
    }
    assert len([value for value in said if value not in known]) > 0.4 * len(said)
    more = [lesson.plan for lesson in asked if lesson.kind == "reordered"]
    assert sum('" "' in plan or "[]" in plan for plan in more) > 0.3 * len(more), "parameters that no request mentions"
    own = {name for domain in load_domains() for name in domain.tools}
    names = {
        name
        for lesson in asked
        if lesson.kind == "renamed"
        for name in re.findall(r"^\d+\. (\w+)\(", lesson.plan, re.M)
    }
    assert not names & own and len(names) > 5


def test_nothing_of_the_mac_and_no_held_out_value_is_read(sample):
    text = "\n".join(lesson.prompt + lesson.plan for lesson in sample)
    assert not [name for name in MAC_TOOLS if f"{name}(" in text or f'"{name}"' in text]
    sentences = ("message", "context", "content")  # names and short phrases may also occur in the APIs' own texts
    held_out = {value for kind in sentences for value in values_of(kind, "test") if len(value) > 14}
    assert not [value for value in held_out if value in text]
    requests = [
        row["request"] for name in ("dev", "test") for row in read_jsonl(DATA / "handwritten" / f"{name}.jsonl")
    ]
    assert not [request for request in requests if request in text]


def test_a_sheet_depends_on_seed_and_number_alone():
    first = list(islice(sheets(3), 30))
    assert first[20:] == list(islice(sheets(3, start=20), 10)) != list(islice(sheets(4, start=20), 10))


def test_held_out_sheets_are_of_other_domains():
    train = "\n".join(lesson.prompt for sheet in islice(sheets(0, COPYING_FIRST), 400) for lesson in sheet)
    held_out = [sheet[0] for sheet in islice(sheets(0, held_out=True), 200) if sheet[0].kind == "request"]
    tools = {step.tool for lesson in held_out for step in parse_plan(lesson.plan, tools=None).steps}
    assert len(tools) > 20
    every = {lesson.prompt for sheet in islice(sheets(0, COPYING_FIRST), 400) for lesson in sheet}
    assert not any(lesson.prompt in every for sheet in islice(sheets(0, held_out=True), 200) for lesson in sheet)
    assert not [tool for tool in tools if f". {tool}(" in train or f'"name": "{tool}"' in train]


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("hours: int", "hours: Hours", "unknown type Hours"),
        ("hours: int", "hours", "every parameter needs a type"),
        ('hours = "Hours a day."', 'days = "x"', "args describes .'days'."),
        ('feed_tank("$1", "flakes"', 'feed_tank("$1", 7', "argument type|food must be str"),
        ("[values]", '[values]\nperson = ["x"]', "exist already"),
    ],
)
def test_mistakes_in_an_api_file_are_named(tmp_path, old, new, message):
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    assert len(read_domain(path).tools) == 3
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(ScenarioError, match=f"mine.toml.*({message})"):
        read_domain(path)


def test_the_tokenizer_loses_nothing_and_keeps_digits_apart(tokenizer, sample):
    hard = [
        "  two  spaces\n\n\ttab",
        "naïve 王伟 🎈 Ünï",
        "\r\n \x00 \u2028",
        'a "quote" $12 ${3}',
        f"join(){END_OF_PLAN}",
    ]
    assert tokenizer("x" + END_OF_PLAN)["input_ids"][-1] == tokenizer.eos_token_id
    for text in [*hard, *(lesson.prompt + lesson.plan for lesson in sample[:200])]:
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert len(tokenizer("2024")["input_ids"]) == 4


def test_a_word_is_the_same_tokens_in_a_request_and_in_a_plan_as_nano_writes_it(tokenizer):
    for word in ("Sid", "board game", "Kučera", "x1@mail.test"):
        wanted = tokenizer(f" {word}")["input_ids"]
        plan = NANO_TEMPLATE.write(f'1. send("{word}", ["{word}"])')
        for text in (f"Text {word} now", plan.partition("[")[0], plan.partition("[")[2]):
            ids = tokenizer(text)["input_ids"]
            assert any(ids[i : i + len(wanted)] == wanted for i in range(len(ids))), text


def test_only_plans_are_learned_and_every_row_is_full(tokenizer):
    settings = replace(TINY, vocabulary=2_000)
    for row, _ in islice(rows(settings, tokenizer, COPYING_FIRST), 20):
        assert len(row.ids) == len(row.labels) == len(row.positions) == settings.row
        learned = [label for label in row.labels if label != UNSEEN]
        assert all(label in (UNSEEN, id) for id, label in zip(row.ids, row.labels, strict=True))
        text = tokenizer.decode(learned)
        assert text.count(END_OF_PLAN) == text.count("join()") >= 1 and "Question:" not in text


def test_a_request_of_a_row_is_read_as_if_it_alone_followed_its_tools(tokenizer):
    settings = replace(TINY, vocabulary=2_000, row=1_400, gap=0)
    model = new_model(settings, tokenizer).eval()
    sheet = next(sheet for sheet in sheets(0, COPYING_FIRST) if len(tokenizer(sheet[0].prompt)["input_ids"]) < 400)
    [(row, _)] = islice(
        rows(settings, tokenizer, COPYING_FIRST + list(islice(sheets(0, COPYING_FIRST), 50)).index(sheet)), 1
    )
    ids, labels, positions, mask = tensors_of([row])
    with torch.no_grad():
        together = model(input_ids=ids, position_ids=positions, attention_mask=mask).logits[0]
        alone = [tokenizer(lesson.prompt + lesson.plan, return_tensors="pt").input_ids for lesson in sheet[:2]]
        logits = [model(input_ids=one).logits[0] for one in alone]
    first = [i for i, (s, r) in enumerate(zip(row.sheet, row.request)) if s == row.sheet[0] and r in (0, 1)]
    second = [i for i, (s, r) in enumerate(zip(row.sheet, row.request)) if s == row.sheet[0] and r in (0, 2)]
    assert ids[0, second].tolist() == alone[1][0].tolist()
    assert torch.allclose(together[first], logits[0], atol=1e-4)
    assert torch.allclose(together[second], logits[1], atol=1e-4)


def test_a_gap_moves_requests_away_from_their_tools(tokenizer):
    settings = replace(TINY, vocabulary=2_000, gap=300)
    near = [row for row, _ in islice(rows(replace(settings, gap=0), tokenizer, COPYING_FIRST), 10)]
    far = [row for row, _ in islice(rows(settings, tokenizer, COPYING_FIRST), 10)]
    gaps = {f - n for a, b in zip(near, far, strict=True) for n, f in zip(a.positions, b.positions, strict=True)}
    assert [a.ids for a in near] == [b.ids for b in far] and min(gaps) == 0 and 100 < max(gaps) <= 300


def test_a_run_may_start_from_an_exported_model(tmp_path):
    pretrain(replace(TINY, steps=2), tmp_path / "one", lambda line: None)
    export(tmp_path / "one", tmp_path / "one" / "model", "first", {})
    slow = replace(TINY, steps=1, muon_rate=0.0, adam_rate=0.0, seed=1)
    pretrain(slow, tmp_path / "two", lambda line: None, base=tmp_path / "one" / "model")
    export(tmp_path / "two", tmp_path / "two" / "model", "second", {})
    one, two = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("one", "two"))
    assert all(torch.equal(one[key], two[key]) for key in one)
    made = read_json(tmp_path / "two" / "model" / "manifest.json")
    assert made["base"]["command"] == "first" and made["tokens"] == 3 * TINY.batch * TINY.row
    with pytest.raises(InputError, match="cannot start from"):
        pretrain(replace(slow, width=64), tmp_path / "three", lambda line: None, base=tmp_path / "one" / "model")
    with pytest.raises(InputError, match="holds no exported model"):
        pretrain(slow, tmp_path / "four", lambda line: None, base=tmp_path)


def test_a_run_with_a_base_does_not_begin_with_copying_again(tmp_path):
    pretrain(replace(TINY, steps=1), tmp_path / "one", lambda line: None)
    export(tmp_path / "one", tmp_path / "one" / "model", "first", {})
    pretrain(replace(TINY, steps=1, seed=1), tmp_path / "two", lambda line: None, base=tmp_path / "one" / "model")
    seen = [read_json(tmp_path / name / "state.json")["sheet"] for name in ("one", "two")]
    assert seen[0] < COPYING_FIRST <= seen[1]


def test_the_command_line_pretrains_exports_and_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tinyagent_helpers.pretraining.Settings", lambda **given: replace(TINY, **given))
    monkeypatch.setattr(TransformersModel.complete, "__defaults__", (8,))
    assert main(["pretrain", "--output", str(tmp_path), "--steps", "2", "--json"]) == 0
    assert {"loss", "seconds", "held_out_loss", "exact", "success"} == set(json.loads(capsys.readouterr().out))
    made = read_json(tmp_path / "model" / "manifest.json")
    assert made["command"] == "tinyagent pretrain --output DIR --steps 2 --seed 0" and made["hardware"]
    on, base = str(tmp_path / "on"), str(tmp_path / "model")
    assert main(["pretrain", "--output", on, "--steps", "1", "--seed", "1", "--base", base]) == 0
    assert read_json(tmp_path / "on" / "model" / "manifest.json")["base"]["command"] == made["command"]


def test_the_learning_rate_rises_stays_and_falls():
    settings = Settings(steps=100, warmup=0.1, decay=0.4)
    assert [rate(s, settings) for s in (0, 9, 50, 60, 80, 99)] == pytest.approx([0.1, 1, 1, 1, 0.5, 0.025])


def test_a_run_that_was_interrupted_gives_the_same_model(tmp_path):
    whole = pretrain(TINY, tmp_path / "whole", lambda line: None)

    class Killed(Exception):
        pass

    import tinyagent_helpers.pretraining as module

    save, saves = module._save, []

    def killed_after_save(*arguments):
        save(*arguments)
        saves.append(1)
        if len(saves) == 2:
            raise Killed

    module._save = killed_after_save
    try:
        with pytest.raises(Killed):
            pretrain(TINY, tmp_path / "parts", lambda line: None, save_every=2)
    finally:
        module._save = save
    parts = pretrain(TINY, tmp_path / "parts", lambda line: None, save_every=2)
    assert parts["loss"] == pytest.approx(whole["loss"], abs=1e-4)
    weights = [load_checkpoint(tmp_path / name)[0].state_dict() for name in ("whole", "parts")]
    assert all(torch.allclose(weights[0][key], weights[1][key], atol=1e-4) for key in weights[0])
    assert sorted(p.name for p in (tmp_path / "parts").glob("checkpoint-*")) == ["checkpoint-6"]
    assert not list(tmp_path.rglob("*.pt")) + list(tmp_path.rglob("*.bin")) + list(tmp_path.rglob("*.pkl"))
    measured = evaluate(tmp_path / "whole", 3, 0)
    assert set(measured) == {"held_out_loss", "exact", "success"}
    export(tmp_path / "whole", tmp_path / "model", "the command", measured)
    manifest = read_json(tmp_path / "model" / "manifest.json")
    assert manifest["tokens"] == 6 * 2 * TINY.row and manifest["command"] == "the command" and manifest["template"]
    model, _ = load_model(PROFILES["nano"], tmp_path / "model")
    assert all(torch.allclose(weights[0][key], tensor, atol=1e-2) for key, tensor in model.state_dict().items())


def test_the_loss_falls(tmp_path):
    losses = []
    settings = replace(TINY, steps=60, width=64, batch=4)
    result = pretrain(settings, tmp_path, lambda line: losses.append(float(line.split("loss ")[1].split(",")[0])))
    assert result["loss"] < losses[0] < 6.6


def test_another_run_in_the_folder_is_refused(tmp_path):
    pretrain(replace(TINY, steps=1), tmp_path, lambda line: None)
    with pytest.raises(InputError, match="a run with other settings"):
        pretrain(replace(TINY, steps=1, seed=1), tmp_path, lambda line: None)
    with pytest.raises(InputError, match="holds no trained model"):
        load_checkpoint(tmp_path / "nothing")


GOOD = """
[values]
tank = ["reef tank", "tank 4"]
fish = ["guppy", "goby"]
[[tool]]
call = 'feed_tank(tank: str, food: str, grams: float)'
about = "Feed the fish in a tank."
args = { tank = "Which tank." }
[[tool]]
call = 'find_tank_of(fish: str)'
about = "Find the tank of a fish."
[[tool]]
call = 'set_light_hours(tank: str, hours: int, colour: Literal["white", "blue"] = "white")'
about = "Set the light."
args = { hours = "Hours a day." }
[[scenario]]
id = "feed"
plan = '''
1. find_tank_of("{fish}")
2. feed_tank("$1", "flakes", "{decimal}")
3. set_light_hours("{tank}", "{count}")
'''
answer = "Fed."
[scenario.requests]
plain = ["Feed the {fish} {decimal} g of flakes and light the {tank} for {count} hours."]
"""
