"""The leaderboard's other ways of asking: conversations by the official loop, and functions offered by a server or a template."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from says import Says

from tinyagent_helpers.artifacts import InputError, read_jsonl
from tinyagent_helpers.bfcl import judge, multi_turn
from tinyagent_helpers.bfcl.answers import (
    CALLS,
    FAILED,
    NONE,
    TOO_LONG,
    UNREADABLE,
    Answer,
    FunctionMode,
    PlanMode,
    answer,
    conversation,
    tool_calls,
)
from tinyagent_helpers.bfcl.baselines import oracle
from tinyagent_helpers.bfcl.finder import Finder
from tinyagent_helpers.bfcl.functions import functions_of
from tinyagent_helpers.bfcl.multi_turn import converse, functions_elsewhere
from tinyagent_helpers.bfcl.official import MULTI_TURN, entries, handler, result_file
from tinyagent_helpers.bfcl.run import run, score
from tinyagent_helpers.decoding import plan_grammar
from tinyagent_helpers.models import NANO_PLANNER, LlamaCppModel, ServerModel
from tinyagent_helpers.plans import parse_plan
from tinyagent_helpers.profiles import profile
from tinyagent_helpers.prompts import NANO_TEMPLATE, PromptTemplate
from tinyagent_helpers.tools import Tool
from tinyagent_helpers.transformers_model import TransformersModel, load_base

OFFERS = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% for t in tools %}{{ t | tojson }}\n{% endfor %}"
TOOL = {"type": "function", "function": {"name": "set_kiln", "parameters": {"type": "object", "properties": {}}}}
ASKED = [{"role": "user", "content": "Fire it."}]


class Gold(FunctionMode):
    """A mode that answers a conversation as is accepted, step by step."""

    name = "gold"

    def __init__(self, category):
        self.category, self.left, self.seen = category, {}, []

    def ask(self, entry):
        turns = oracle(self.category, entry["id"]).turns
        self.seen.append(entry["question"][0])
        return json.dumps(self.left.setdefault(entry["id"], [step for turn in turns for step in turn]).pop(0))

    def read(self, text, entry):
        calls = [{name: json.loads(given) for name, given in call.items()} for call in json.loads(text)]
        return Answer(CALLS if calls else NONE, calls, text)


class Api(BaseHTTPRequestHandler):
    """Streams what `server.say(request)` gives: deltas; None for no answer at all."""

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        deltas = self.server.say(asked)
        if deltas is None:
            time.sleep(3)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        try:
            for delta in deltas:
                choice = {"index": 0, "delta": delta, "finish_reason": None}
                chunk = {"id": "x", "object": "chat.completion.chunk", "created": 0, "model": "m", "choices": [choice]}
                self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
                self.server.sent += 1
            self.wfile.write(b"data: [DONE]\n\n")
        except OSError:
            pass  # the other side has read enough

    def log_message(self, *args):
        pass


@pytest.fixture
def serving():
    """A server that says what a test wants; call it with a function to get a model."""
    servers = []

    def serve(say, timeout=1.0):
        server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
        server.daemon_threads, server.say, server.sent = True, say, 0
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        model = ServerModel(f"http://127.0.0.1:{server.server_port}/v1", "m", timeout=timeout)
        model._client = model._client.with_options(max_retries=0)
        return model, server

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def called(calls):
    """Deltas of calls, their arguments cut in two."""
    for number, (name, given) in enumerate((n, g) for call in calls for n, g in call.items()):
        cut = len(given) // 2
        yield {"tool_calls": [{"index": number, "id": "c", "function": {"name": name, "arguments": given[:cut]}}]}
        yield {"tool_calls": [{"index": number, "function": {"arguments": given[cut:]}}]}


def accepted(asked):
    """The accepted calls for the question in a request, under the names that were offered."""
    for id, entry in entries("parallel_multiple").items():
        if entry["question"][0][-1]["content"] == asked["messages"][-1]["content"]:
            return called(
                [{n.replace(".", "_"): g for n, g in c.items()} for c in oracle("parallel_multiple", id).result]
            )


def test_a_server_that_calls_rightly_is_scored_as_right(serving, tmp_path):
    model, _ = serving(accepted, timeout=30)
    run(FunctionMode(model), "server", ["parallel_multiple"], tmp_path, limit=12)
    found = score("server", ["parallel_multiple"], tmp_path, limit=12)["parallel_multiple"]
    assert (found.right, found.n, found.statuses[CALLS]) == (12, 12, 12)


def test_functions_are_offered_as_openai_wants_them(serving):
    seen = []
    model, _ = serving(lambda asked: seen.append(asked) or [{"content": "I cannot."}])
    [id, *_] = [i for i, e in entries("simple_python").items() if "." in e["function"][0]["name"]]
    assert answer(FunctionMode(model), entries("simple_python")[id]).status == NONE
    [tool] = seen[0]["tools"]
    assert "." not in tool["function"]["name"] and tool["function"]["parameters"]["type"] == "object"
    assert seen[0]["temperature"] == 0


def test_what_a_server_does_wrong_is_told_and_the_run_goes_on_later(serving, tmp_path):
    entry = next(iter(entries("simple_python").values()))
    model, server = serving(lambda asked: ({"content": "x" * 10_000} for _ in range(10_000)))
    assert answer(FunctionMode(model), entry).status == UNREADABLE and server.sent < 1_000
    broken = [{"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": '{"a": '}}]}]
    model, _ = serving(lambda asked: broken)
    assert answer(FunctionMode(model), entry).status == UNREADABLE
    model, _ = serving(lambda asked: None, timeout=0.2)
    with pytest.raises(InputError, match="failed 3 times in a row; run it again to go on. m does not answer"):
        run(FunctionMode(model), "gone", ["multiple"], tmp_path, limit=5)
    rows = list(read_jsonl(result_file(tmp_path, "gone", "multiple")))
    assert [row["status"] for row in rows] == [FAILED] * 3
    model, _ = serving(lambda asked: [{"content": "No."}])
    run(FunctionMode(model), "gone", ["multiple"], tmp_path, limit=5)
    assert score("gone", ["multiple"], tmp_path, limit=5)["multiple"].statuses == {NONE: 5}


def test_calls_are_read_from_marks_and_from_json_and_prose_has_none():
    one = '{"name": "f", "arguments": {"a": 1}}'
    assert tool_calls(f"Sure. <tool_call>\n{one}\n</tool_call><tool_call>{one}") == [("f", {"a": 1})] * 2
    assert tool_calls(f"```json\n[{one}]\n```") == tool_calls(one) == [("f", {"a": 1})]
    assert tool_calls('{"name": "f", "arguments": "{\\"a\\": 1}"}') == [("f", {"a": 1})]
    assert tool_calls("I have no tool for that.") == tool_calls("") == tool_calls("[]") == []
    for wrong in ("<tool_call>f(1)</tool_call>", '{"name": "f"}', "[1]", '{"arguments": {}}'):
        with pytest.raises(ValueError):
            tool_calls(wrong)


def test_a_chat_template_offers_functions_and_a_planner_has_none():
    model, tokenizer = load_base(profile("nano"))
    planner = TransformersModel(model, tokenizer, name="base")
    for one in (planner, LlamaCppModel(NANO_PLANNER)):
        with pytest.raises(InputError, match="has no chat template that offers functions"):
            one.call(ASKED, [TOOL])
    tokenizer.chat_template = OFFERS
    text = tokenizer.decode(planner._conversation(ASKED, [TOOL]))
    assert "user: Fire it." in text and '"set_kiln"' in text
    assert isinstance(planner.call(ASKED, [TOOL], limit=3), str)
    with pytest.raises(InputError, match="tokens"):
        planner.call(ASKED * 2_000, [TOOL])
    small = LlamaCppModel(NANO_PLANNER)
    small._llama.metadata["tokenizer.chat_template"] = small._chat = OFFERS
    assert len(small.call(ASKED, [TOOL], limit=3)) > 0
    assert answer(FunctionMode(small), next(iter(entries("multi_turn_base").values()))).status == TOO_LONG


@pytest.mark.parametrize("category", MULTI_TURN)
def test_the_accepted_conversation_passes_the_official_loop_and_checker(category):
    some = list(entries(category).items())[:3]
    mode = Gold(category)
    with functions_elsewhere():
        made = {id: converse(mode, entry) for id, entry in some}
    assert [m.status for m in made.values()] == [CALLS] * 3
    assert all(m.result == oracle(category, id).result for id, m in made.items())
    assert list(judge.verdicts((category, id, m.result) for id, m in made.items())) == [""] * 3
    assert any(message["role"] == "tool" for message in mode.seen[1])


def test_a_planner_is_asked_in_conversations_and_one_that_is_too_long_is_said_to_be(tmp_path):
    mode = PlanMode(LlamaCppModel(NANO_PLANNER), NANO_TEMPLATE, grammar=True)
    run(mode, "nano", ["multi_turn_base"], tmp_path, limit=3)
    [row, *_] = read_jsonl(result_file(tmp_path, "nano", "multi_turn_base"))
    assert row["status"] in (TOO_LONG, CALLS) and isinstance(row["result"], list)
    assert score("nano", ["multi_turn_base"], tmp_path, limit=3)["multi_turn_base"].right == 0


def test_a_function_that_takes_too_long_ends_its_conversation_alone(monkeypatch):
    monkeypatch.setattr(multi_turn, "SECONDS", 0.0)
    entry = next(iter(entries("multi_turn_base").values()))
    with functions_elsewhere():
        assert converse(Gold("multi_turn_base"), entry).status == FAILED


def test_only_functions_of_conversations_are_evaluated_and_only_with_literals():
    judging = handler(model_name="m", registry_name="m", is_fc_model=True)
    assert judging.decode_execute([{"cd": '{"folder": "a\')"}'}], False) == ['cd(folder="a\')")']
    for call in ({"open": '{"file": "x"}'}, {"cd": '{"folder=open(1), x": 1}'}, {"__import__": "{}"}):
        with pytest.raises(ValueError):
            judging.decode_execute([call], False)


def test_a_run_is_not_continued_by_another_model(tmp_path):
    mode = Gold("irrelevance")
    mode.ask, mode.read = lambda entry: "", lambda text, entry: Answer(NONE)
    run(mode, "mine", ["irrelevance"], tmp_path, limit=2, made_of={"weights": "a"})
    run(mode, "mine", ["irrelevance"], tmp_path, limit=3, made_of={"weights": "a"})
    with pytest.raises(InputError, match="a run with other weights; give this one another --name"):
        run(mode, "mine", ["irrelevance"], tmp_path, limit=3, made_of={"weights": "b"})


def test_functions_are_found_by_letters_and_a_request_is_cut_where_it_turns_to_another():
    finder = Finder()
    own, other = finder.calibration
    assert abs((other >= finder.threshold).mean() - 0.05) < 0.005 and (own >= finder.threshold).mean() > 0.75
    density = entries("simple_python")["simple_python_48"]
    tools = {name: f.tool for name, f in functions_of(density).items()}
    assert list(finder.find(conversation(density), tools)) == ["calculate_density"]
    assert finder.find("Who painted the Mona Lisa?", tools) == {} == finder.find("x", {})
    assert finder.parts(conversation(density), tools) == [(conversation(density), tools)]
    two = entries("parallel_multiple")["parallel_multiple_6"]
    tools = {name: f.tool for name, f in functions_of(two).items()}
    parts = finder.parts(conversation(two), tools)
    assert [list(found) for _, found in parts] == [["find_prime_numbers"], ["get_fibonacci_sequence"]]


def test_with_a_finder_nothing_found_is_no_call_and_parts_are_put_together():
    finder, template = Finder(), PromptTemplate()
    density = entries("simple_python")["simple_python_48"]
    silent = Says()
    other = {**density, "question": [[{"role": "user", "content": "Who painted the Mona Lisa?"}]]}
    assert answer(PlanMode(silent, template, finder=finder), other).status == NONE and not silent.prompts
    two = entries("parallel_multiple")["parallel_multiple_6"]
    first, second = (
        "1. find_prime_numbers(50, 150)\n2. join()<END_OF_PLAN>",
        "1. get_fibonacci_sequence(150)\n2. join()<END_OF_PLAN>",
    )
    model = Says(first, second)
    made = answer(PlanMode(model, template, finder=finder), two)
    assert made.calls == [{"find_prime_numbers": {"start": 50, "end": 150}}, {"get_fibonacci_sequence": {"count": 150}}]
    assert "fibonacci" not in model.prompts[0].rpartition("Question:")[2]
    assert answer(PlanMode(Says(first, "rubbish"), template, finder=finder), two).status == UNREADABLE


def test_a_grammar_of_one_to_so_many_steps():
    planner = LlamaCppModel(NANO_PLANNER)
    tools = [Tool.from_signature("fire_kiln", "Fire it.", [])]
    text = "".join(planner.stream("Roses are red", 200, grammar=plan_grammar(tools, padded=True, most=3)))
    plan = parse_plan(text, {tool.name: tool for tool in tools})
    assert 1 <= len(plan.steps) <= 3 and [step.id for step in plan.steps] == list(range(1, len(plan.steps) + 1))
