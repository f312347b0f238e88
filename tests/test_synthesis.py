"""Synthesis: what the teacher writes, what the checks reject, what is held out, and that nothing is lost."""

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from tinyagent_helpers import synthesis, times
from tinyagent_helpers.artifacts import DATA, InputError, read_json, read_jsonl
from tinyagent_helpers.plans import parse_plan
from tinyagent_helpers.profiles import PROFILES
from tinyagent_helpers.sanity import Example, first_problem
from tinyagent_helpers.synthesis import SHARES, Draft, RecordedTeacher, content_words, course_data, home, synthesize
from tinyagent_helpers.teacher import (
    CLOSED,
    POOLED,
    STYLES,
    ScenarioError,
    draw,
    load_patterns,
    load_values,
    read_scenarios,
    values_of,
)
from tinyagent_helpers.tools import MAC_TOOLS

NOW = datetime(2024, 5, 24, 9, 0)  # a Friday


@pytest.fixture(scope="session")
def patterns():
    return load_patterns()


def test_the_recorded_teacher_is_as_large_as_promised(patterns):
    combinations = {p.tools for p in patterns}
    assert len(patterns) >= 1_500
    assert len(combinations) >= 80
    assert {len(c) for c in combinations} == {1, 2, 3, 4, 5, 6}
    assert set().union(*combinations) == set(MAC_TOOLS)
    assert set(Counter(p.style for p in patterns)) == set(STYLES)


def test_every_pattern_can_be_drawn_and_nearly_every_draw_passes_the_checks(patterns):
    rng, failures = Random(0), Counter()
    for pattern in patterns:
        drawn = draw(pattern, rng, "train")
        assert "{" not in drawn.request + drawn.answer
        if problem := first_problem(Example(drawn.request, drawn.plan.to_text(), drawn.now, pattern.tools)):
            failures[problem] += 1
    assert failures.total() < 0.03 * len(patterns), failures.most_common(5)


def test_handwritten_requests_are_many_sound_and_unlike_the_patterns(patterns):
    rows = {
        name: list(read_jsonl(DATA / "handwritten" / f"{name}.jsonl", ("id", "request", "now", "plan", "answer")))
        for name in ("dev", "test")
    }
    everything = rows["dev"] + rows["test"]
    assert len(everything) >= 300 and abs(len(rows["dev"]) - len(rows["test"])) <= 1
    assert len({content_words(r["request"]) for r in everything}) == len(everything)
    assert {s.tool for r in everything for s in parse_plan(r["plan"]).steps} == set(MAC_TOOLS)
    for row in everything:
        assert first_problem(Example(row["request"], row["plan"], datetime.strptime(row["now"], times.FORMAT))) is None
    recorded = {content_words(p.request) for p in patterns}
    assert not recorded & {content_words(r["request"]) for r in everything}


@pytest.mark.parametrize(
    "request_text, plan, check",
    [
        (" ", '1. open_note("x", "")\n2. join()', "request is usable"),
        ("x" * 100_000, '1. open_note("x", "")\n2. join()', "request is usable"),
        ("open x", "nonsense", "plan is feasible"),
        ("open x", "1. join()", "plan is feasible"),
        ("text Sid hi", '1. send_sms(["+1 415 555 0101"], "hi")\n2. join()', "lookups come before use"),
        ("text Sid hi", '1. get_email_address("Sid")\n2. send_sms(["$1"], "hi")\n3. join()', "lookups come before use"),
        ("summarize a", '1. summarize_pdf("a")\n2. join()', "lookups come before use"),
        (
            "remind me to x",
            '1. create_reminder("x", "2024-05-23 10:00:00", "", "", 0, False)\n2. join()',
            "dates fit the moment",
        ),
        ("remind me to x", '1. create_reminder("x", "Friday", "", "", 0, False)\n2. join()', "dates fit the moment"),
        (
            "remind me tomorrow to x",
            '1. create_reminder("x", "2024-05-26 10:00:00", "", "", 0, False)\n2. join()',
            "dates fit the moment",
        ),
        (
            "remind me on monday to x",
            '1. create_reminder("x", "2024-05-28 10:00:00", "", "", 0, False)\n2. join()',
            "dates fit the moment",
        ),
        (
            "lunch",
            '1. create_calendar_event("lunch", "2024-05-25 13:00:00", "2024-05-25 12:00:00", "", [], "", "")\n2. join()',
            "dates fit the moment",
        ),
        ("lunch", '1. create_calendar_event("lunch", "", "", "", [], "", "")\n2. join()', "dates fit the moment"),
        ("call Sid", '1. get_phone_number("Lutfi")\n2. join()', "names stand in the request"),
        (
            "note: $1 a day for Sid",
            '1. get_phone_number("Sid")\n2. create_note("", "$1 a day", "")\n3. join()',
            "prices are not references",
        ),
        (
            "mail zoe@example.com",
            '1. compose_new_email(["oe@example.co"], [], "", "x", [])\n2. join()',
            "lookups come before use",
        ),
        ("at 10:45 text 5550101 hi", '1. send_sms(["045"], "hi")\n2. join()', "lookups come before use"),
        (
            "mail it to Sid.",
            '1. get_email_address("Sid")\n2. compose_new_email("$1", [], "", "it", [])\n3. join()',
            "lookups come before use",
        ),
        (
            "call the dentist about the bill",
            '1. get_phone_number("the plumber")\n2. join()',
            "names stand in the request",
        ),
        (
            "remind me at 8 today",
            '1. create_reminder("x", "2024-05-24 08:00:00", "", "", 0, False)\n2. join()',
            "dates fit the moment",
        ),
        (
            "lunch",
            '1. create_calendar_event("lunch", "2024-5-27 9:0:0", "2024-05-27 10:00:00", "", [], "", "")\n2. join()',
            "dates fit the moment",
        ),
        ("zoom x", '1. get_zoom_meeting_link("x", "2024-05-27 09:00:00", -5, [])\n2. join()', "values make sense"),
        ("remind me to x", '1. create_reminder("x", "", "", "", 777, False)\n2. join()', "values make sense"),
        ("text hi", '1. send_sms([], "hi")\n2. join()', "values make sense"),
        ("add x to y", '1. open_note("y", "")\n2. append_note_content("y", "x", "")\n3. join()', "no step is needless"),
        ("open y", '1. open_note("y", "")\n2. open_note("y", "")\n3. join()', "no step is needless"),
    ],
)
def test_each_check_finds_what_it_is_there_for(request_text, plan, check):
    name, reason = first_problem(Example(request_text, plan, NOW))
    assert name == check and reason


def test_tools_that_were_not_asked_for_are_noticed():
    example = Example("open x", '1. open_note("x", "")\n2. join()', NOW, frozenset({"open_note", "send_sms"}))
    assert first_problem(example)[0] == "tools are those asked for"


@pytest.mark.parametrize(
    "request_text, plan",
    [
        ("Text 555-0101 that dinner is on Monday", '1. send_sms(["5550101"], "dinner is on Monday")\n2. join()'),
        (
            "Remind me tomorrow to buy Friday's paper",
            '1. create_reminder("buy Friday\'s paper", "2024-05-25 00:00:00", "", "", 0, True)\n2. join()',
        ),
        (
            "Mail zoe@example.com about lunch",
            '1. compose_new_email(["Zoe@example.com"], [], "lunch", "lunch", [])\n2. join()',
        ),
        ("打电话给王伟", '1. get_phone_number("王伟")\n2. join()'),
        ("Text +1 (415) 555-0101. Say hi", '1. send_sms(["+14155550101"], "hi")\n2. join()'),
        ("Mail zoe@example.com.", '1. compose_new_email(["zoe@example.com"], [], "", "", [])\n2. join()'),
        ("Remind me today to sleep", '1. create_reminder("sleep", "2024-05-24 00:00:00", "", "", 0, True)\n2. join()'),
        ("Remind me to sleep", '1. create_reminder("sleep", "", "", "", 0, False)\n2. join()'),
    ],
)
def test_good_examples_pass(request_text, plan):
    assert first_problem(Example(request_text, plan, NOW)) is None


def test_times_mean_what_they_say():
    rng = Random(1)
    for _ in range(3_000):
        now = times.draw_now(rng)
        when, day, span = times.draw_when(rng, now), times.draw_day(rng, now), times.draw_span(rng, now)
        assert when.start > now and span.start > now and span.end > span.start and day.start.date() > now.date()
        said = day.say.casefold()
        if said == "tomorrow":
            assert day.start.date() == now.date() + timedelta(days=1)
        for number, weekday in enumerate(times.WEEKDAYS):
            if weekday.casefold() in said:
                assert day.start.weekday() == number
        if said.startswith("next"):
            assert day.start.isocalendar()[1] == (now + timedelta(days=7)).isocalendar()[1]


@pytest.mark.parametrize(
    "clock, forms",
    [
        ((15, 0), {"15:00", "3pm", "3 o'clock in the afternoon", "three in the afternoon"}),
        ((12, 0), {"noon", "12 pm"}),
        ((14, 45), {"quarter to three in the afternoon", "2:45 PM"}),
        ((9, 30), {"half past nine in the morning", "9:30am"}),
        ((20, 15), {"quarter past eight in the evening"}),
    ],
)
def test_clock_times_are_said_in_many_ways(clock, forms):
    from datetime import time as clock_time

    rng = Random(0)
    said = {times._clock(rng, clock_time(*clock)) for _ in range(400)}
    assert forms <= said
    assert len(said) >= 6


def test_values_are_held_out():
    for kind in POOLED:
        pools = [set(values_of(kind, split)) for split in ("train", "validation", "test")]
        assert all(pools), kind
        if kind not in CLOSED:
            assert not (pools[0] & pools[1] or pools[0] & pools[2] or pools[1] & pools[2])
            assert sum(map(len, pools)) == len(load_values()[kind])


def test_a_value_is_held_out_for_every_kind_of_slot():
    seen = {
        split: {v.casefold() for k in POOLED if k not in CLOSED for v in values_of(k, split)}
        for split in ("train", "validation", "test")
    }
    assert not (seen["train"] & seen["test"] or seen["train"] & seen["validation"] or seen["validation"] & seen["test"])


def test_scenario_files_with_mistakes_are_named(tmp_path):
    good = '[[scenario]]\nid = "x"\nplan = \'1. open_note("{note}", "")\'\nanswer = "ok"\n[scenario.requests]\nplain = ["open {note}"]\n'
    path = tmp_path / "mine.toml"
    for old, new, message in (
        ("[[scenario]]", "[[scenario", "not a file of"),
        ('{note}", ', '{nothing}", ', "unknown slot {nothing}"),
        ("open {note}", "open it", "slot {note} is not in the request"),
        ("plain", "loud", "unknown keys"),
        ("open_note(", "open_note((", "SYNTAX|not a complete call"),
        ("open {note}", "open {note} {", "a brace that is not a slot"),
    ):
        path.write_text(good.replace(old, new))
        with pytest.raises(ScenarioError, match=f"mine.toml.*({message})"):
            read_scenarios(path)
    path.write_text(good)
    assert len(read_scenarios(path)) == 1


@pytest.fixture(scope="session")
def small_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synthesis")
    funnel = synthesize(RecordedTeacher(), 1_500, 7, folder)
    return folder, funnel


def rows_of(folder):
    return {split: list(read_jsonl(folder / f"{split}.jsonl")) for split in SHARES}


def test_a_run_fills_every_split_with_distinct_checked_examples(small_run):
    folder, funnel = small_run
    splits = rows_of(folder)
    everything = [row for rows in splits.values() for row in rows]
    assert len(everything) == funnel.total == 1_500 and all(splits.values())
    assert len({content_words(r["request"]) for r in everything}) == len({r["id"] for r in everything}) == 1_500
    for row in everything:
        assert (
            first_problem(
                Example(
                    row["request"], row["plan"], datetime.strptime(row["now"], times.FORMAT), frozenset(row["tools"])
                )
            )
            is None
        )
        assert row["join"].startswith("Thought: ") and len(row["observations"]) == len(parse_plan(row["plan"]).steps)
    assert read_json(folder / "manifest.json")["accepted"] == funnel.accepted
    assert len(list(read_jsonl(folder / "rejected.jsonl"))) == funnel.rejected.total()


def test_patterns_and_combinations_are_held_out_whole(small_run):
    splits = rows_of(small_run[0])
    used = {name: {(r["source"], frozenset(r["tools"])) for r in rows} for name, rows in splits.items()}
    sources = {name: {source for source, _ in pairs} for name, pairs in used.items()}
    sets = {name: {tools for _, tools in pairs} for name, pairs in used.items()}
    for held_out in ("validation", "test_patterns", "test_combinations"):
        assert not sources["train"] & sources[held_out]
    assert not sources["test_patterns"] & sources["validation"]
    assert not sets["train"] & sets["test_combinations"]
    assert sources["test_draws"] <= {p.id for p in load_patterns() if home(p.tools, p.id) == "train"}


def test_the_same_seed_gives_the_same_examples_and_another_seed_others(small_run, tmp_path):
    folder, _ = small_run
    synthesize(RecordedTeacher(), 300, 7, tmp_path / "same")
    synthesize(RecordedTeacher(), 300, 8, tmp_path / "other")
    first, same, other = (
        list(read_jsonl(f / "train.jsonl"))[:200] for f in (folder, tmp_path / "same", tmp_path / "other")
    )
    assert first == same != other


def test_a_killed_run_goes_on_and_loses_nothing(small_run, tmp_path):
    command = [
        sys.executable,
        "-m",
        "tinyagent_helpers",
        "synthesize",
        "--count",
        "1500",
        "--seed",
        "7",
        "--output",
        str(tmp_path / "run"),
    ]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    train = tmp_path / "run" / "train.jsonl"
    deadline = time.monotonic() + 60
    while not (train.exists() and train.stat().st_size > 100_000):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with train.open("a") as file:
        file.write('{"id": "cut o')
    before = train.read_text().splitlines()[:-1]
    assert len(before) < 1_300
    funnel = synthesize(RecordedTeacher(), 1_500, 7, tmp_path / "run")
    assert funnel.total == 1_500
    assert rows_of(tmp_path / "run") == rows_of(small_run[0])
    assert train.read_text().splitlines()[: len(before)] == before


def test_a_finished_run_is_not_made_again_and_a_foreign_one_not_overwritten(small_run):
    folder, _ = small_run
    before = {p.name: p.read_bytes() for p in folder.glob("*.jsonl")}
    started = time.perf_counter()
    assert synthesize(RecordedTeacher(), 1_500, 7, folder).total == 1_500
    assert time.perf_counter() - started < 5
    with pytest.raises(InputError, match="holds a run with seed 7, not 8; choose another"):
        synthesize(RecordedTeacher(), 1_500, 8, folder)
    assert before == {p.name: p.read_bytes() for p in folder.glob("*.jsonl")}


def test_course_data_is_found_again_and_made_anew_when_the_teacher_changes(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYAGENT_ARTIFACTS", str(tmp_path))
    profile = replace(PROFILES["nano"], examples=150)
    folder, funnel = course_data(profile, 3)
    assert funnel.total == 150 and folder == tmp_path / "nano" / "data" / "seed3"
    written = (folder / "train.jsonl").stat().st_mtime_ns
    course_data(profile, 3)
    assert (folder / "train.jsonl").stat().st_mtime_ns == written
    manifest = folder / "manifest.json"
    manifest.write_text(json.dumps(read_json(manifest) | {"patterns": "older"}))
    assert course_data(profile, 3)[1].total == 150
    assert read_json(manifest)["patterns"] != "older"


def test_a_teacher_with_nothing_new_to_say_is_stopped(tmp_path, monkeypatch):
    class Parrot(RecordedTeacher):
        def write(self, tools, split, rng):
            return Draft("Open the note x", '1. open_note("x", "")\n2. join()', "ok", NOW, "parrot")

        def tool_sets(self, split):
            return [frozenset({"open_note"})]

    monkeypatch.setattr(synthesis, "MAX_REJECTED_IN_A_ROW", 50)
    with pytest.raises(InputError, match="50 drafts in a row were rejected.*1 examples were written"):
        synthesize(Parrot(), 100, 0, tmp_path)


def test_a_read_only_folder_is_named(tmp_path, monkeypatch):
    def refuse(path, *args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "touch", refuse)  # root, who runs the gate, may write even to a read-only folder
    with pytest.raises(InputError, match="Permission denied.; choose another folder"):
        synthesize(RecordedTeacher(), 10, 0, tmp_path / "x")


def test_a_folder_in_which_nothing_can_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="cannot write to"):
        synthesize(RecordedTeacher(), 10, 0, tmp_path / "file" / "x")
    assert (tmp_path / "file").read_text() == "mine"


def test_files_that_are_not_from_a_run_are_left_alone(tmp_path):
    (tmp_path / "train.jsonl").write_text('{"mine": 1}\n{"mine": 2}')
    with pytest.raises(InputError, match="has a train.jsonl that is not from a run; choose another --output"):
        synthesize(RecordedTeacher(), 10, 0, tmp_path)
    assert (tmp_path / "train.jsonl").read_text() == '{"mine": 1}\n{"mine": 2}'
    assert [p.name for p in tmp_path.iterdir()] == ["train.jsonl"]


def test_a_broken_line_in_an_earlier_run_is_named_and_kept(small_run, tmp_path):
    source = small_run[0]
    for file in source.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    broken = (tmp_path / "train.jsonl").read_text().replace('{"id"', '{"id', 1)
    (tmp_path / "train.jsonl").write_text(broken)
    with pytest.raises(InputError, match="train.jsonl, line 1: not JSON"):
        synthesize(RecordedTeacher(), 1_600, 7, tmp_path)
    assert (tmp_path / "train.jsonl").read_text() == broken


@pytest.mark.minutes
def test_eighty_thousand_examples_in_ten_minutes_and_one_gigabyte(tmp_path):
    command = [
        sys.executable,
        "-c",
        f"""
import json, resource
from pathlib import Path
from tinyagent_helpers.synthesis import RecordedTeacher, synthesize
total = synthesize(RecordedTeacher(), 80_000, 0, Path({str(tmp_path)!r})).total
print(json.dumps([total, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]))
""",
    ]
    command = ["sh", "-c", '"$@"; exit $?', "sh", *command]  # or the child's peak would begin at this process' own
    started = time.perf_counter()
    total, kilobytes = json.loads(
        subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parent.parent).stdout
    )
    assert total == 80_000
    assert time.perf_counter() - started < 600
    assert kilobytes < 1_000_000
