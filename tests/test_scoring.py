"""Scoring: success by isomorphism, arguments beside it, and where the published code differs."""

import json
import re
import time
from random import Random

import networkx as nx
import pytest

from tinyagent_helpers.artifacts import InputError
from tinyagent_helpers.plans import parse_plan
from tinyagent_helpers.scoring import arguments_agree, failure, read_plans, score, success, wilson

INVITE = """1. get_email_address("Sid")
2. get_email_address("Lutfi")
3. create_calendar_event("Lunch", "2024-05-25 12:00:00", "2024-05-25 13:00:00", "the Louvre", ["$1", "$2"], "bring $5", "")
4. join()"""


@pytest.mark.parametrize(
    "change, is_success, agree",
    [
        ((), True, True),
        (("Sid", "Bob"), True, False),
        (("05-25 12", "05-26 12"), True, False),
        (('"Lunch"', '"the lunch."'), True, True),
        (("the Louvre", "Louvre"), True, True),
        (("bring $5", "bring $6"), True, False),
        (('["$1", "$2"]', '["$2", "$1"]'), True, True),
        (('["$1", "$2"]', '["$1"]'), False, False),
        (('["$1", "$2"]', '["$1", "$1"]'), False, False),
        (("4. join()", '4. get_email_address("Eve")\n5. join()'), False, False),
        (("get_email_address", "get_phone_number"), False, False),
        (("4. join()", ""), False, False),
    ],
)
def test_success_and_arguments(change, is_success, agree):
    predicted = INVITE.replace(*change) if change else INVITE
    assert success(predicted, INVITE) is is_success
    assert arguments_agree(predicted, INVITE) is agree


def test_order_of_independent_steps_does_not_matter_but_who_gets_what_does():
    two = '1. get_phone_number("A")\n2. get_phone_number("B")\n3. send_sms(["$1"], "x")\n4. send_sms(["$2"], "y")\n5. join()'
    swapped = '1. get_phone_number("B")\n2. send_sms(["$1"], "y")\n3. get_phone_number("A")\n4. send_sms(["$3"], "x")\n5. join()'
    crossed = two.replace('"x"', '"z"').replace('"y"', '"x"').replace('"z"', '"y"')
    assert success(swapped, two) and arguments_agree(swapped, two)
    assert success(crossed, two) and not arguments_agree(crossed, two)


@pytest.mark.parametrize(
    "one, other, agree",
    [
        ("Sid: $1, Bo: $2", "Sid: $2, Bo: $1", False),
        ("see you at 5, bring 1.5 kg", "see you at 5, bring 5.1 kg", False),
        ("I will come to the party", "I will not come to the party", False),
        ("we are running late, start without us", "We're running late, start without us!", True),
        ("$1 is the number", "the number is $1", True),
        ("...", "", False),
    ],
)
def test_free_text_may_be_worded_differently_but_not_say_something_else(one, other, agree):
    plan = '1. get_phone_number("a")\n2. get_phone_number("b")\n3. create_note("n", {}, "")\n4. join()'
    assert arguments_agree(plan.format(json.dumps(one)), plan.format(json.dumps(other))) is agree


def test_a_phone_number_is_the_same_however_it_is_written():
    plan = '1. send_sms(["{}"], "hi")\n2. join()'
    assert arguments_agree(plan.format("+1 415 555-0101"), plan.format("+14155550101"))
    assert not arguments_agree(plan.format("+1 415 555-0101"), plan.format("+14155550102"))


def test_many_like_steps_do_not_take_forever():
    def lookups(names):
        return "\n".join(
            [f'{i}. get_phone_number("{n}")' for i, n in enumerate(names, 1)] + [f"{len(names) + 1}. join()"]
        )

    def texts(messages):
        steps = [
            f'{2 * i + 1}. get_phone_number("A")\n{2 * i + 2}. send_sms(["${2 * i + 1}"], "{m}")'
            for i, m in enumerate(messages)
        ]
        return "\n".join([*steps, f"{2 * len(messages) + 1}. join()"])

    started = time.perf_counter()
    assert not arguments_agree(lookups("A" * 39 + "B"), lookups("A" * 40))
    assert arguments_agree(lookups("A" * 40), lookups("A" * 40))
    assert not arguments_agree(texts("x" * 24 + "y"), texts("x" * 25))
    assert success(texts("x" * 25), texts("y" * 25))
    assert time.perf_counter() - started < 5


def test_a_shared_lookup_is_not_two_lookups():
    shared = '1. get_phone_number("A")\n2. send_sms(["$1"], "x")\n3. send_sms(["$1"], "y")\n4. get_phone_number("B")\n5. join()'
    apart = '1. get_phone_number("A")\n2. send_sms(["$1"], "x")\n3. get_phone_number("B")\n4. send_sms(["$3"], "y")\n5. join()'
    assert not success(shared, apart)


@pytest.mark.parametrize(
    "predicted, kind",
    [
        (None, "no prediction"),
        ("nonsense", "invalid plan: syntax"),
        ('1. call("x")\n2. join()', "invalid plan: unknown tool"),
        ("1. join()", "missing tool"),
        (INVITE.replace("get_email_address", "get_phone_number"), "wrong tool"),
        (INVITE.replace("4. join()", '4. open_note("x", "")\n5. join()'), "needless tool"),
        (INVITE.replace("4. join()", '4. get_email_address("Eve")\n5. join()'), "wrong number of calls"),
        (INVITE.replace('["$1", "$2"]', '["$1"]'), "wrong dependencies"),
        (INVITE.replace("Sid", "Eve"), "wrong arguments"),
        (INVITE, None),
    ],
)
def test_failures_have_kinds(predicted, kind):
    assert failure(predicted, parse_plan(INVITE)) == kind


def test_score_counts_and_averages():
    gold = {"a": INVITE, "b": INVITE, "c": INVITE, "d": '1. open_note("x", "")\n2. join()'}
    result = score({"a": INVITE, "b": INVITE.replace("Sid", "Eve"), "d": "broken"}, gold)
    assert (result.n, result.successes, result.agreements) == (4, 2, 1)
    assert result.failures == {"no prediction": 1, "wrong arguments": 1, "invalid plan: syntax": 1}
    assert result.tool_recall == result.tool_precision == 0.5
    low, high = result.to_json()["success"]["interval"]
    assert (round(low, 3), round(high, 3)) == (0.15, 0.85)


def test_wilson_matches_the_textbook():
    assert wilson(0, 0) == (0.0, 1.0)
    low, high = wilson(8, 10)
    assert (round(low, 4), round(high, 4)) == (0.4902, 0.9433)


def test_a_thousand_plans_take_less_than_a_second():
    gold = {str(i): INVITE for i in range(1_000)}
    started = time.perf_counter()
    score(gold, gold)
    assert time.perf_counter() - started < 1.0


def test_bad_files_are_named_with_line_and_remedy(tmp_path):
    path = tmp_path / "plans.jsonl"
    path.write_text('{"id": "1", "plan": "x"}\n{"id": "2", "plan"\n')
    with pytest.raises(InputError, match=r"plans.jsonl, line 2: not JSON"):
        read_plans(path)
    path.write_text('{"id": "1", "plan": "x"}\n\n{"id": "1", "plan": "x"}\n')
    with pytest.raises(InputError, match="'1' stands in it twice"):
        read_plans(path)
    path.write_text('{"id": 1, "plan": "x"}\n')
    with pytest.raises(InputError, match="line 1: 'id' is missing or not text"):
        read_plans(path)
    with pytest.raises(InputError, match="cannot read"):
        read_plans(tmp_path / "missing.jsonl")
    with pytest.raises(InputError, match="no gold plans"):
        score({}, {})
    with pytest.raises(InputError, match="gold plan of 'a' is not valid"):
        score({}, {"a": "broken"})
    with pytest.raises(InputError, match="an id that the gold plans lack"):
        score({"b": INVITE}, {"a": INVITE})


# The published metric, rebuilt from its observable behaviour (SqueezeAILab/TinyAgent, src/utils/graph_utils.py): it
# looks for the first "$n" in each string argument and each string in a list argument, takes it for step n, and labels
# nodes with the tree of tools they depend on.


def published_success(predicted, gold):
    return nx.is_isomorphic(
        _published_graph(predicted), _published_graph(gold), node_match=lambda a, b: a["tree"] == b["tree"]
    )


def _published_graph(plan):
    calls = [(s.tool, s.arguments) for s in plan.steps] + [("join", ())]

    def uses(arguments):
        texts = [t for a in arguments for t in (a if isinstance(a, list) else [a]) if isinstance(t, str)]
        return [int(m.group(1)) - 1 for t in texts if (m := re.search(r"\$(\d+)", t))]

    def tree(index):
        tool, arguments = calls[index]
        return (tool, tuple(sorted(tree(d) for d in uses(arguments))))

    graph = nx.DiGraph()
    for index, (tool, arguments) in enumerate(calls):
        graph.add_node(index, tree=tree(index))
        graph.add_edges_from((d, index) for d in uses(arguments))
    return graph


TOOLS = {"get_phone_number": '"Mom"', "get_email_address": '"Mom"', "open_note": '"x", ""'}


def _random_plan(rng):
    lines = []
    for i in range(1, rng.randrange(2, 7)):
        used = rng.sample(range(1, i), rng.randrange(0, min(i, 3)))
        if used and rng.random() < 0.8:
            lines.append(f'{i}. send_sms({json.dumps([f"${d}" for d in used])}, "hi")')
        else:
            tool = rng.choice(list(TOOLS))
            lines.append(f"{i}. {tool}({TOOLS[tool]})")
    return parse_plan("\n".join([*lines, f"{len(lines) + 1}. join()"]))


def test_agrees_with_the_published_metric_where_that_is_right():
    rng, verdicts = Random(0), set()
    plans = [_random_plan(rng) for _ in range(120)]
    for predicted in plans:
        for gold in plans:
            verdict = success(predicted, gold)
            verdicts.add(verdict)
            assert verdict == published_success(predicted, gold), (predicted.to_text(), gold.to_text())
    assert verdicts == {True, False}


LOOKUPS = '1. get_phone_number("a")\n2. get_phone_number("b")\n'
published_slips = {
    "only the first $n of a string": (
        '3. create_note("", "$1 and $2", "")\n4. join()',
        '3. create_note("", "$1", "")\n4. join()',
    ),
    "${n} is not read": ('3. create_note("", "${1}", "")\n4. join()', '3. create_note("", "", "")\n4. join()'),
    "money becomes a dependency": (
        '3. create_note("", "for $1.50", "")\n4. join()',
        '3. create_note("", "$1", "")\n4. join()',
    ),
}


@pytest.mark.parametrize("slip", published_slips)
def test_known_slips_of_the_published_metric(slip):
    one, other = (parse_plan(LOOKUPS + text) for text in published_slips[slip])
    assert published_success(one, other) and not success(one, other)


def test_published_metric_stops_at_money_without_a_step():
    plan = parse_plan('1. create_note("", "$50", "")\n2. join()')
    assert success(plan, plan)
    with pytest.raises(IndexError):
        published_success(plan, plan)


def test_published_metric_counts_a_repeated_use_twice():
    once, twice = (
        parse_plan(f'1. get_phone_number("a")\n2. send_sms({r}, "x")\n3. join()') for r in ('["$1"]', '["$1", "$1"]')
    )
    assert success(once, twice) and not published_success(once, twice)
