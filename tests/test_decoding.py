"""Decoding: what is kept, looked up or ruled out changes the time, and only a grammar may change the text."""

import pytest

from tinyagent_helpers import latency
from tinyagent_helpers.artifacts import DATA, InputError, read_jsonl
from tinyagent_helpers.decoding import Grammar, look_up, plan_grammar
from tinyagent_helpers.evaluation import needed_tools
from tinyagent_helpers.latency import measure_latency, write_given
from tinyagent_helpers.models import NANO_PLANNER, LlamaCppModel
from tinyagent_helpers.plans import parse_plan
from tinyagent_helpers.prompts import NANO_TEMPLATE
from tinyagent_helpers.times import moment_of
from tinyagent_helpers.tools import MAC_TOOLS, Tool

ROWS = list(read_jsonl(DATA / "handwritten" / "dev.jsonl"))[:16]


@pytest.fixture(scope="module")
def planner():
    return LlamaCppModel(NANO_PLANNER)


def prompts(tools=needed_tools):
    return [NANO_TEMPLATE.plan(row["request"], moment_of(row["now"]), tools(row)) for row in ROWS]


def test_look_up_finds_what_followed_the_last_time():
    assert look_up([1, 2, 3, 4, 5, 1, 2, 3], draft=2) == [4, 5]
    assert look_up([1, 2, 3, 4, 1, 2, 3, 9, 1, 2, 3], draft=1) == [9]
    assert look_up([1, 2, 3, 4, 1, 2], draft=2) == [] == look_up([1, 2], draft=2) == look_up([], draft=2)
    assert look_up([7, 7, 7, 7], draft=3) == [7]


def test_with_lookup_the_same_plans_take_fewer_steps(planner):
    quick = LlamaCppModel(NANO_PLANNER, draft=8)
    for model in (planner, quick):
        model.decoder.forget()
        model.decoder.steps = 0
    assert quick.complete(prompts()) == planner.complete(prompts())
    assert quick.decoder.steps < 0.85 * planner.decoder.steps
    assert quick.complete(prompts()[:3], 7) == planner.complete(prompts()[:3], 7)


def test_what_is_kept_is_not_read_again_and_changes_nothing(planner):
    whole = prompts(lambda row: MAC_TOOLS)
    planner.decoder.forget()
    wanted = planner.complete(whole[:4], 40)
    kept = LlamaCppModel(NANO_PLANNER)
    kept.keep(whole[0])
    read, decode = [], kept.decoder._decode
    kept.decoder._decode = lambda ids, *rest, **named: (read.append(len(ids)), decode(ids, *rest, **named))
    for prompt, plan in zip(whole, wanted):
        read.clear()
        kept.complete(["Something else in between"], 3)
        read.clear()
        assert kept.complete([prompt], 40) == [plan]
        assert read[0] < 0.3 * kept.count_tokens(prompt)
    kept.decoder.forget()
    read.clear()
    assert kept.complete([whole[0]], 40) == wanted[:1] and sum(read[:3]) >= kept.count_tokens(whole[0])


def test_a_grammar_lets_every_right_plan_through_and_nothing_else(planner):
    rows = list(read_jsonl(DATA / "handwritten" / "dev.jsonl"))
    vocabulary = planner.decoder._vocabulary
    for row in rows[:60]:
        text = plan_grammar(needed_tools(row).values(), padded=True)
        for plan, fits in ((row["plan"], True), (row["plan"].replace("join()", "quit()"), False)):
            assert follows(planner, Grammar(text, vocabulary), NANO_TEMPLATE.write(plan)) == fits, plan


def follows(planner, grammar, plan):
    """Whether each token of a plan may follow the ones before."""
    import numpy as np

    for token in planner.tokens(plan):
        logits = np.full(planner._llama.n_vocab(), -1.0, dtype=np.float32)
        logits[token] = 1.0
        if not grammar._allowed([token], logits):
            grammar.close()
            return False
        grammar.choose(logits)
    grammar.close()
    return True


def test_under_a_grammar_even_nonsense_becomes_a_plan(planner):
    tools = {name: MAC_TOOLS[name] for name in ("send_sms", "create_reminder")}
    made = "".join(planner.stream("Roses are red", 120, grammar=plan_grammar(tools.values(), padded=True)))
    lines = made.splitlines()
    assert all(line.split(". ", 1)[1].startswith((*tools, "join()")) for line in lines[:-1])
    for prompt, row in zip(prompts()[:6], ROWS):
        text = "".join(planner.stream(prompt, grammar=plan_grammar(needed_tools(row).values(), padded=True)))
        assert parse_plan("".join(NANO_TEMPLATE.read([text]))).steps is not None


def test_grammars_that_cannot_be_made_or_read_are_refused(planner):
    def odd(when: dict) -> str:
        """Odd."""

    with pytest.raises(InputError, match="odd: there is no grammar for the type <class 'dict'>"):
        plan_grammar([Tool.from_function(odd)])
    with pytest.raises(InputError, match="cannot read this grammar"):
        Grammar("root ::= (", planner.decoder._vocabulary)
    assert "<END_OF_PLAN>" in plan_grammar([], ends_by_itself=False)


def test_a_text_longer_than_the_model_reads_is_refused_and_the_next_one_works(planner):
    with pytest.raises(InputError, match="could not read .* tokens"):
        planner.decoder.read([5] * (planner.context + 600))
    assert planner.complete(prompts()[:1]) == LlamaCppModel(NANO_PLANNER).complete(prompts()[:1])


def test_a_given_plan_is_written_and_with_lookup_in_fewer_steps(planner):
    prompt, plan = planner.ids(prompts()[1]), planner.tokens(NANO_TEMPLATE.write(ROWS[1]["plan"]))
    planner.decoder.read(prompt)
    slow, fast = (write_given(planner.decoder, prompt, plan, draft) for draft in (0, 8))
    assert slow == len(plan) - 1 > fast and planner.decoder._held == prompt + plan[:-1]


def test_latency_has_a_row_for_every_file_and_prompt_and_is_not_measured_twice(tmp_path):
    parts, lines = ({"F16": NANO_PLANNER, "again": NANO_PLANNER}, tmp_path, 1), []
    rows = measure_latency(*parts, lines.append, prompts=(400, 200), repeats=2)
    assert [(row["file"], row["prompt"]) for row in rows] == [
        ("F16", 400),
        ("F16", 200),
        ("again", 400),
        ("again", 200),
    ]
    assert rows[0]["both, of F16's"] == rows[1]["both, of F16's"] == 1 and rows[0]["kept, of F16's"] < 1
    assert all(0 < row["prefix kept, s"] <= row["read, s"] and row["new"] == 60 for row in rows)
    assert measure_latency(*parts, lines.append, prompts=(400, 200), repeats=2) == rows
    with pytest.raises(InputError, match="other settings"):
        measure_latency(*parts, lines.append, prompts=(400,), repeats=2)


def test_random_weights_of_a_shape_make_a_file_of_every_type_and_only_once(tmp_path, tiny, monkeypatch):
    small = {"hidden_size": 256, "intermediate_size": 256, "num_hidden_layers": 1, "num_attention_heads": 4}
    monkeypatch.setattr(latency, "TINYLLAMA", latency.TINYLLAMA | small | {"vocab_size": 700})
    paths = latency.random_tinyllama(tiny[1], tmp_path)
    assert list(paths) == ["F16", "Q8_0", "Q4_K_M", "Q4_0"] and all(path.exists() for path in paths.values())
    monkeypatch.setattr(latency, "export", None)
    assert latency.random_tinyllama(tiny[1], tmp_path) == paths
    assert measure_latency(paths, tmp_path, 1, print, prompts=(300,), repeats=1)[0]["prompt"] == 300
