"""The endpoint teacher against a local server: retries, concurrency, resume, spending, and answers of every quality."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tinyagent_helpers.artifacts import InputError, read_jsonl
from tinyagent_helpers.endpoint import EndpointTeacher
from tinyagent_helpers.synthesis import synthesize

GOOD = [
    ("open_note", "Open the note Kelpie {n}", '1. open_note("Kelpie {n}", "")\n2. join()<END_OF_PLAN>'),
    ("get_phone_number", "What is Kelpie {n}'s number?", '1. get_phone_number("Kelpie {n}")\n2. join()<END_OF_PLAN>'),
]


class Server(ThreadingHTTPServer):
    """Speaks enough of the chat protocol; `script(n)` decides the n-th answer: a status, or the text of a message."""

    daemon_threads = True

    def __init__(self, script):
        super().__init__(("127.0.0.1", 0), Handler)
        self.script, self.asked, self.together, self.most = script, 0, 0, 0
        self.lock = threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        prompt = self.rfile.read(int(self.headers["Content-Length"])).decode()
        with self.server.lock:
            self.server.asked += 1
            number = self.server.asked
            self.server.together += 1
            self.server.most = max(self.server.most, self.server.together)
        time.sleep(0.02)
        answer = self.server.script(number, prompt)
        with self.server.lock:
            self.server.together -= 1
        status = answer if isinstance(answer, int) else 200
        message = {"role": "assistant", "content": answer if isinstance(answer, str) else None}
        body = {
            "id": "x", "object": "chat.completion", "created": 0, "model": "m",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100},
        }  # fmt: skip
        if isinstance(answer, dict):
            body |= answer
        elif isinstance(answer, list) or answer == "<html>":
            body = answer
        data = json.dumps(body if status == 200 else {"error": {"message": "busy"}}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Retry-After-Ms", "1")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


def good_answer(number, prompt):
    """A request for the one tool that was asked for, if we know it; otherwise something useless."""
    for tool, request, plan in GOOD:
        if f"1. {tool}(" in prompt and "2. " not in prompt.split("Rules")[0]:
            return json.dumps({"request": request.format(n=number), "plan": plan.format(n=number), "answer": "ok"})
    return json.dumps({"request": "Open x", "plan": "nonsense", "answer": "ok"})


@pytest.fixture
def serve(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    servers = []

    def start(script):
        servers.append(Server(script))
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()


def teacher_for(server, **options):
    options = {"price_in": 10, "price_out": 30, "budget": 100.0} | options
    teacher = EndpointTeacher(server.url, "m", **options)
    single = [frozenset({tool}) for tool, _, _ in GOOD]
    teacher.tool_sets = lambda split: single
    return teacher


def test_examples_come_from_the_endpoint_and_are_paid_for(serve, tmp_path):
    server = serve(good_answer)
    funnel = synthesize(teacher_for(server), 12, 0, tmp_path)
    assert funnel.total == 12 and server.most > 1
    spent = server.asked * (1000 * 10 + 100 * 30) / 1e6
    assert funnel.cost == pytest.approx(spent)
    row = next(read_jsonl(tmp_path / "train.jsonl"))
    assert "Kelpie" in row["request"] and row["source"] == "m" and row["cost"] > 0


def test_a_busy_server_is_asked_again(serve, tmp_path):
    server = serve(lambda n, prompt: (429, 500, 503)[n % 3] if n < 7 else good_answer(n, prompt))
    assert synthesize(teacher_for(server, workers=1), 3, 0, tmp_path).total == 3


@pytest.mark.parametrize(
    "reply",
    [
        {"usage": {"total_tokens": 5}},
        {"usage": {"prompt_tokens": -1_000_000_000, "completion_tokens": 0, "total_tokens": 0}},
        {"choices": []},
        {"choices": [{"index": 0, "message": None, "finish_reason": "stop"}]},
        [],
        "<html>",
    ],
)
def test_replies_that_are_no_completions_cost_the_most_and_are_not_fatal(serve, tmp_path, reply):
    server = serve(lambda n, prompt: reply if n <= 3 else good_answer(n, prompt))
    teacher = teacher_for(server, workers=1)
    funnel = synthesize(teacher, 2, 0, tmp_path)
    assert funnel.total == 2 and funnel.cost >= 3 * teacher._worst


@pytest.mark.parametrize(
    "answer",
    [
        "not json",
        "[]",
        "null",
        '{"request": "x"}',
        '{"request": 1, "plan": 2, "answer": 3}',
        "[" * 100_000,
        '{"request": "\\ud800", "plan": "x", "answer": "y"}',
        '{"request": 1' + "0" * 5000 + "}",
    ],
)
def test_useless_answers_are_counted_not_fatal(serve, tmp_path, answer):
    server = serve(lambda n, prompt: answer if n <= 5 else good_answer(n, prompt))
    funnel = synthesize(teacher_for(server, workers=1), 2, 0, tmp_path)
    assert funnel.total == 2 and funnel.rejected["teacher gave no draft"] == 5


def test_the_spending_limit_is_never_passed(serve, tmp_path):
    server = serve(good_answer)
    lines = []
    funnel = synthesize(teacher_for(server, budget=0.5, workers=3), 10_000, 0, tmp_path, lines.append)
    assert 0 < funnel.cost <= 0.5 and funnel.total > 3
    assert "stopped at the spending limit" in lines[-1]
    again = synthesize(teacher_for(server, budget=0.5, workers=3), 10_000, 0, tmp_path)
    assert again.cost == pytest.approx(funnel.cost)


def test_a_run_resumes_and_keeps_what_was_paid_for(serve, tmp_path):
    stop_at = 8
    server = serve(lambda n, prompt: 401 if n > stop_at else good_answer(n, prompt))
    with pytest.raises(InputError, match="check the URL, the model's name and the key"):
        synthesize(teacher_for(server, workers=2), 30, 0, tmp_path)
    kept = [row for path in tmp_path.glob("*.jsonl") for row in read_jsonl(path)]
    assert len(kept) == stop_at
    server.script = good_answer
    assert synthesize(teacher_for(server, workers=2), 30, 0, tmp_path).total == 30
    after = [row for path in tmp_path.glob("*.jsonl") for row in read_jsonl(path)]
    assert all(row in after for row in kept)


def test_a_server_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    teacher = EndpointTeacher("http://127.0.0.1:9/v1", "m", retries=0)
    with pytest.raises(InputError, match="http://127.0.0.1:9/v1 cannot be used"):
        synthesize(teacher, 1, 0, tmp_path)


def test_a_remote_endpoint_needs_a_key(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(InputError, match="OPENAI_API_KEY"):
        EndpointTeacher("https://models.example/v1", "m", price_in=1, price_out=1)
    with pytest.raises(InputError, match="say what the endpoint costs"):
        EndpointTeacher("https://models.example/v1", "m")
    with pytest.raises(InputError, match="--workers is 0"):
        EndpointTeacher("http://127.0.0.1:9/v1", "m", workers=0)


def test_a_teacher_that_never_says_anything_useful_is_stopped_early(serve, tmp_path):
    server = serve(lambda n, prompt: "no")
    with pytest.raises(InputError, match=r"10\d drafts in a row were rejected"):
        synthesize(teacher_for(server, workers=4), 10, 0, tmp_path)
    assert server.asked < 110
