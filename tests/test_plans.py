"""The plan parser: what it reads, what it refuses and why, and that nothing surprises it."""

import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tinyagent_helpers.plans import (
    END_OF_PLAN,
    MAX_CHARACTERS,
    MAX_STEPS,
    Fault,
    Plan,
    PlanError,
    PlanReader,
    Step,
    fill_in,
    parse_plan,
)
from tinyagent_helpers.tools import MAC_TOOLS

JOIN = "\n9. join()"


def test_reads_a_plan_with_everything_in_it():
    plan = parse_plan(
        'Thought: first the number\n1. get_phone_number("Tom \\"TJ\\" Jones")\n'
        "2. send_sms(['$1'], \"It's $15 (not ${1}), brackets ) ] and\na new line\")\n3. join()<END_OF_PLAN>\n"
    )
    assert plan.steps[0] == Step(1, "get_phone_number", ('Tom "TJ" Jones',), "first the number")
    assert plan.steps[1].arguments == (["$1"], "It's $15 (not ${1}), brackets ) ] and\na new line")
    assert plan.steps[1].depends_on == (1,)


def test_an_empty_plan_is_a_plan():
    assert parse_plan("1. join()<END_OF_PLAN>") == Plan()
    assert Plan().to_text() == f"1. join(){END_OF_PLAN}"


@pytest.mark.parametrize(
    "text, kind, line",
    [
        ("", Fault.NO_JOIN, 1),
        ('1. get_phone_number("Mom")', Fault.NO_JOIN, 1),
        ("Sure, here is the plan:\n1. join()", Fault.SYNTAX, 1),
        ('1. get_phone_number("Mom"\n2. join()', Fault.SYNTAX, 1),
        ('1. get_phone_number("Mom") and more\n2. join()', Fault.SYNTAX, 1),
        ("1. get_phone_number(name)\n2. join()", Fault.SYNTAX, 1),
        ('1. get_phone_number(name="Mom")\n2. join()', Fault.SYNTAX, 1),
        ('1. get_phone_number(f"{1}")\n2. join()', Fault.SYNTAX, 1),
        ('1. get_phone_number(b"Mom")\n2. join()', Fault.SYNTAX, 1),
        ("1. join()\n2. join()", Fault.SYNTAX, 2),
        ("1. join()<END_OF_PLAN>\n\n\nThat is my plan.", Fault.SYNTAX, 4),
        ("1. get_phone_number(0x" + "f" * 5000 + ")\n2. join()", Fault.SYNTAX, 1),
        ('1. get_phone_number("Mom")\n\n1. join()', Fault.NUMBERING, 3),
        ("0. join()", Fault.NUMBERING, 1),
        ('1. join("x")', Fault.ARGUMENT_COUNT, 1),
        ('1. call("Mom")\n2. join()', Fault.UNKNOWN_TOOL, 1),
        ("1. get_phone_number()\n2. join()", Fault.ARGUMENT_COUNT, 1),
        ('1. get_phone_number("a", "b")\n2. join()', Fault.ARGUMENT_COUNT, 1),
        ("1. get_phone_number(3)\n2. join()", Fault.ARGUMENT_TYPE, 1),
        ('1. send_sms("555 0101", "hi")\n2. join()', Fault.ARGUMENT_TYPE, 1),
        ('1. maps_show_directions("", "Rome", "fly")\n2. join()', Fault.ARGUMENT_TYPE, 1),
        ('1. create_reminder("x", "", "", "", True, False)\n2. join()', Fault.ARGUMENT_TYPE, 1),
        ('1. get_phone_number("$1")\n2. join()', Fault.SELF_REFERENCE, 1),
        ('1. get_phone_number("it is ${1}")\n2. join()', Fault.SELF_REFERENCE, 1),
        ('1. send_sms(["$2"], "hi")\n2. get_phone_number("Mom")\n3. join()', Fault.FORWARD_REFERENCE, 1),
        ('1. send_sms(["555 0101"], "hi ${2}")\n2. get_phone_number("Mom")\n3. join()', Fault.FORWARD_REFERENCE, 1),
        ('1. send_sms(["555 0101"], "hi ${7}")\n2. join()', Fault.DANGLING_REFERENCE, 1),
        ("1. " + "f(" * 3_000 + "\n2. join()", Fault.SYNTAX, 1),
        ("x" * (MAX_CHARACTERS + 1), Fault.TOO_LONG, 1),
        (None, Fault.NOT_TEXT, 1),
        (b"1. join()", Fault.NOT_TEXT, 1),
    ],
)
def test_every_mistake_has_its_own_error(text, kind, line):
    with pytest.raises(PlanError) as caught:
        parse_plan(text)
    assert (caught.value.kind, caught.value.line) == (kind, line)
    assert caught.value.reason


def test_too_many_steps_are_refused():
    calls = "\n".join(f'{i}. get_phone_number("Mom")' for i in range(1, MAX_STEPS + 2))
    with pytest.raises(PlanError, match="more than 50 steps"):
        parse_plan(f"{calls}\n{MAX_STEPS + 2}. join()")


@pytest.mark.parametrize(
    "text, depends_on",
    [
        ("you owe me $5", ()),
        ("$5", ()),
        ("$3", ()),  # step 3 is join(), which has no result
        ("$1.50 each", ()),
        ("$1,000", ()),
        ("$1k", ()),
        ("$12", ()),
        ("$1", (1,)),
        ("ask $1, please", (1,)),
        ("${1}st", (1,)),
        ("$1 and again $1.", (1,)),
    ],
)
def test_money_is_not_a_reference_and_a_reference_is_not_money(text, depends_on):
    plan = parse_plan(f'1. get_phone_number("Mom")\n2. create_note("", "{text}", "")\n3. join()')
    assert plan.steps[1].depends_on == depends_on
    assert plan.steps[1].arguments[1] == text


def test_several_references_in_one_string():
    plan = parse_plan(
        '1. get_phone_number("a")\n2. get_phone_number("b")\n3. create_note("", "$1, ${2}, $9", "")' + JOIN
    )
    assert plan.steps[2].depends_on == (1, 2)
    assert fill_in(plan.steps[2].arguments, {1: "one $2", 2: "two"}) == ("", "one $2, two, $9", "")


plain_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
names = st.text(string.ascii_lowercase + "_", min_size=1, max_size=12).filter(
    lambda n: n != "join" and not _is_keyword(n)
)


def _is_keyword(name: str) -> bool:
    import keyword

    return keyword.iskeyword(name)


@given(
    st.lists(
        st.tuples(names, st.lists(plain_values | st.sampled_from(["$1", "see ${1}", "$2.50", "${2}"]), max_size=4)),
        max_size=5,
    )
)
@example([("f", [f"{END_OF_PLAN}\u2028\x85\x00\ud800\U0001f600 \\ \" '"])])
def test_what_to_text_writes_parse_plan_reads_back(calls):
    try:
        plan = Plan.of(calls)
    except PlanError as error:
        assert error.kind in (Fault.SELF_REFERENCE, Fault.FORWARD_REFERENCE, Fault.DANGLING_REFERENCE)
        return
    again = parse_plan(plan.to_text(), tools=None)
    assert again == plan
    assert [s.depends_on for s in again.steps] == [s.depends_on for s in plan.steps]


fragments = st.sampled_from(
    [
        "1. ",
        "2. ",
        "join()",
        "\n",
        '"',
        "'",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "\\",
        "$1",
        "${2}",
        ",",
        END_OF_PLAN,
        "Thought: ",
        "get_phone_number",
        "send_sms",
        "\x00",
        "\ud800",
        "#",
        "-1e999",
        "9" * 5000,
        "0x" + "f" * 5000,
    ]
)


@given(st.text() | st.lists(fragments | st.text(max_size=3), max_size=30).map("".join) | plain_values)
def test_no_input_of_any_kind_raises_anything_but_plan_error(text):
    for tools in (MAC_TOOLS, None):
        try:
            parse_plan(text, tools)
        except PlanError as error:
            assert isinstance(error.kind, Fault) and error.line >= 1


@given(st.data())
def test_a_plan_read_in_pieces_is_the_same_plan(data):
    text = '1. get_phone_number("a\nb")\nThought: hm\n2. send_sms(["$1"], "for $3 (or ${1})")\n3. create_note("", "$2", "")\n4. join()<END_OF_PLAN>'
    reader, rest, steps = PlanReader(), text, []
    while rest:
        size = data.draw(st.integers(1, 9))
        steps += reader.feed(rest[:size])
        rest = rest[size:]
    steps += reader.close()
    assert reader.plan == parse_plan(text)
    assert sorted(s.id for s in steps) == [1, 2, 3]


def test_a_step_is_handed_out_when_its_line_is_complete_and_not_before():
    reader = PlanReader()
    assert reader.feed('1. get_phone_number("Mom")') == []
    assert [s.id for s in reader.feed("\n2. send_sms")] == [1]
    assert [s.id for s in reader.feed('(["$1"], "hi\n')] == []
    assert [s.id for s in reader.feed('there")\n')] == [2]


def test_a_step_that_may_name_a_later_one_waits_for_the_end():
    reader = PlanReader()
    assert reader.feed('1. create_note("", "$2", "")\n') == []
    reader.feed("2. join()")
    assert [s.id for s in reader.close()] == [1]


def test_graph_has_an_arrow_from_each_step_to_its_users():
    plan = parse_plan('1. get_phone_number("a")\n2. get_phone_number("b")\n3. send_sms(["$1", "$2"], "x")' + JOIN)
    graph = plan.graph()
    assert set(graph.edges) == {(1, 3), (2, 3)}
    assert graph.nodes[1]["label"] == graph.nodes[2]["label"] != graph.nodes[3]["label"]
