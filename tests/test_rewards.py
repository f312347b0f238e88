"""Rewards on plans whose worth is known."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyagent_helpers.artifacts import DATA, read_jsonl
from tinyagent_helpers.rewards import WEIGHTS, brevity, parses, right_arguments, right_graph, total
from tinyagent_helpers.scoring import call_overlap, mcnemar, success

GOLD = '1. get_phone_number("Sid")\n2. send_sms(["$1"], "I am late")\n3. join()'
TWO = '1. get_phone_number("Sid")\n2. get_phone_number("Lutfi")\n3. send_sms(["$1", "$2"], "I am late")\n4. join()'
NO_LOOKUP = '1. send_sms(["Sid"], "I am late")\n2. join()'
OTHER_TEXT = '1. get_phone_number("Sid")\n2. send_sms(["$1"], "See you on Monday")\n3. join()'
LONG = "".join(f'{n}. get_phone_number("Sid")\n' for n in range(1, 9)) + "9. join()"
EMPTY, NONSENSE = "1. join()", "send it to Sid!"
PLANS = sorted({row["plan"] for row in read_jsonl(DATA / "handwritten" / "dev.jsonl")})


def test_each_reward_says_what_it_is_called():
    assert [parses(plan, GOLD) for plan in (GOLD, NO_LOOKUP, EMPTY, NONSENSE)] == [1, 1, 0, 0]
    assert [right_graph(plan, GOLD) for plan in (GOLD, OTHER_TEXT, NO_LOOKUP, EMPTY, NONSENSE)] == [1, 1, 0, 0, 0]
    assert brevity(GOLD, GOLD) == brevity(EMPTY, GOLD) == brevity(NO_LOOKUP, GOLD) == 0
    assert -1 <= brevity(LONG, GOLD) < brevity(TWO, GOLD) < 0


def test_arguments_earn_by_their_share():
    shares = [right_arguments(plan, GOLD) for plan in (GOLD, OTHER_TEXT, NO_LOOKUP, EMPTY, NONSENSE)]
    # calls and values in common, twice, over all there are: 5 + 5; then one text of five differs; then 2 of 3 + 5
    assert shares == pytest.approx([1, 0.8, 0.5, 0, 0])
    assert right_arguments(TWO, GOLD) == pytest.approx(2 * 5 / (8 + 5)), "what is too much costs, too"


def test_order_of_independent_steps_and_empty_values_do_not_matter():
    swapped = (
        '1. get_phone_number("Lutfi")\n2. get_phone_number("Sid")\n3. send_sms(["$2", "$1"], "I am late")\n4. join()'
    )
    assert call_overlap(swapped, TWO) == 1
    note = '1. create_note("Ideas", "", "")\n2. join()'
    assert call_overlap('1. create_note("Plans", "", "")\n2. join()', note) == 0.5


@pytest.mark.parametrize("gold", [GOLD, TWO, NO_LOOKUP, *PLANS[:40]])
def test_a_perfect_plan_earns_the_most_and_an_empty_one_cannot_win(gold):
    best = total(gold, gold)
    assert best == pytest.approx(sum(weight for reward, weight in WEIGHTS.items() if reward is not brevity))
    for plan in {GOLD, TWO, NO_LOOKUP, OTHER_TEXT, LONG, *PLANS[:40]} - {gold}:
        assert total(plan, gold) <= best
        assert total(plan, gold) > total(EMPTY, gold) == total(NONSENSE, gold) == 0
        if not success(plan, gold):
            assert total(plan, gold) < best - 1


def test_padding_a_plan_earns_less():
    assert total(LONG, GOLD) < total(TWO, GOLD) < total(OTHER_TEXT, GOLD) < total(GOLD, GOLD)


LINES = sorted({line for plan in PLANS for line in plan.splitlines()})


@given(st.one_of(st.text(), st.lists(st.sampled_from(LINES), max_size=5).map("\n".join)), st.sampled_from(PLANS))
def test_whatever_a_model_writes_can_be_judged(text, gold):
    assert 0 <= total(text, gold) <= total(gold, gold)


def test_mcnemar_counts_only_where_two_planners_differ():
    assert mcnemar([True] * 50, [True] * 50) == 1
    first, second = [True] * 8 + [False] * 2, [False] * 8 + [True] * 2
    assert mcnemar(first, second) == pytest.approx(2 * (1 + 10 + 45) / 1024)
    assert mcnemar(first + [True] * 90, second + [True] * 90) == mcnemar(first, second)
    with pytest.raises(ValueError):
        mcnemar([True], [])
