"""The server: any OpenAI client and the agent get the plans that llama.cpp writes in one process."""

import json
import subprocess
import sys
from datetime import datetime

import httpx
import pytest
from openai import BadRequestError, OpenAI

from tinyagent_helpers.artifacts import ROOT, InputError, read_jsonl
from tinyagent_helpers.models import NANO_PLANNER_Q4, LlamaCppModel, ServerModel, served_manifest
from tinyagent_helpers.planner import ModelPlanner
from tinyagent_helpers.plans import parse_plan
from tinyagent_helpers.prompts import NANO_TEMPLATE
from tinyagent_helpers.quantize import export
from tinyagent_helpers.quick_classifier import NANO_RETRIEVER, load_retriever
from tinyagent_helpers.serving import OPENINGS, is_local, listen, running

NOW = datetime(2024, 5, 24, 9)
PLAN = '1. get_phone_number("Lutfi")\n2. send_sms(["$1"], "hi")\n3. join()<END_OF_PLAN>'
REQUEST = "Text Lutfi that I am late"


@pytest.fixture(scope="module")
def url():
    with running() as address:
        yield address


@pytest.fixture
def client(url):
    return OpenAI(base_url=url, api_key="none")


def ask(client, message, **options):
    return client.chat.completions.create(model="tinyagent", messages=[{"role": "user", "content": message}], **options)


def test_a_request_from_any_client_becomes_a_plan_streamed_or_not(client):
    whole = ask(client, REQUEST).choices[0].message.content
    pieces = [c.choices[0].delta.content or "" for c in ask(client, REQUEST, stream=True)]
    assert "".join(pieces) == whole and len(pieces) > 10
    assert [s.tool for s in parse_plan(whole).steps] == ["get_phone_number", "send_sms"]
    assert '"Lutfi"' in whole, "plain plan text, without the spaces that the model reads"


def test_a_client_cannot_make_the_planner_guess(client):
    usual = ask(client, REQUEST).choices[0].message.content
    for option in (
        {"presence_penalty": 2.0},
        {"frequency_penalty": 2.0},
        {"logit_bias": {"1": 100}},
        {"max_tokens": 100_000},
    ):
        assert ask(client, REQUEST, **option).choices[0].message.content == usual
    assert ask(client, REQUEST, temperature=2.0, seed=1) .choices[0].message.content == \
        ask(client, REQUEST, temperature=2.0, seed=2).choices[0].message.content  # fmt: skip


def test_only_the_last_message_of_the_user_counts(client):
    history = [
        {"role": "system", "content": "You are a pirate."},
        {"role": "user", "content": "Open my groceries note"},
        {"role": "assistant", "content": '1. open_note("groceries", "")\n2. join()'},
        {"role": "user", "content": REQUEST},
    ]
    answer = client.chat.completions.create(model="tinyagent", messages=history).choices[0].message.content
    assert answer == ask(client, REQUEST).choices[0].message.content


def test_the_agents_planner_writes_the_same_plans_through_the_server_as_in_one_process(url):
    made = served_manifest(url)
    assert made["template"] == NANO_TEMPLATE.hash and made["type"] == "Q4_0"
    retriever = load_retriever(NANO_RETRIEVER)
    through = ModelPlanner(ServerModel(url, "tinyagent", template=made["template"]), NANO_TEMPLATE, retriever)
    alone = ModelPlanner(LlamaCppModel(NANO_PLANNER_Q4), NANO_TEMPLATE, retriever)
    rows = list(read_jsonl(ROOT / "data" / "handwritten" / "dev.jsonl"))[:10]
    for row in rows:
        there, here = ("".join(p.write(row["request"], NOW)) for p in (through, alone))
        assert there == here, row["request"]
    prompt = NANO_TEMPLATE.join("Text Lutfi", PLAN, ["+1 415 555 0102", "Sent the message to +1 415 555 0102."])
    assert through.model.complete([prompt]) == alone.model.complete([prompt])


def test_a_chat_model_is_asked_in_its_own_template(tiny, tmp_path):
    model, tokenizer = tiny
    kept, tokenizer.chat_template = (
        tokenizer.chat_template,
        "### Instruction:\n{{ messages[-1]['content'] }}\n### Response:\n",
    )
    try:
        export(model, tokenizer, tmp_path / "chat.gguf", "F16", "")
    finally:
        tokenizer.chat_template = kept
    prompts = [OPENINGS[0] + "Text Sid", OPENINGS[0] + "Open the lease and mail it to Lutfi"]
    alone = LlamaCppModel(tmp_path / "chat.gguf")
    with running("--model", str(tmp_path / "chat.gguf")) as address:
        through = ServerModel(address, "tinyagent")
        assert through.complete(prompts, 12) == alone.complete(prompts, 12)


def test_a_request_that_is_none_is_refused_with_its_reason(client):
    with pytest.raises(BadRequestError, match="the request is empty"):
        ask(client, " ")
    with pytest.raises(BadRequestError, match="the request is empty"):
        client.chat.completions.create(model="tinyagent", messages=[{"role": "system", "content": "hello"}])


def test_pages_and_names_from_elsewhere_are_sent_away(url):
    body = {"messages": [{"role": "user", "content": REQUEST}]}
    for headers in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}, {"Origin": "null"}):
        assert httpx.post(f"{url}/chat/completions", json=body, headers=headers).status_code == 403
    assert httpx.post(f"{url}/chat/completions", json=body, headers={"Origin": "http://localhost:8888"}).is_success
    assert not is_local("//127.0.0.1.evil.example") and not is_local("//[bad") and is_local("//localhost:1")


def test_there_is_no_way_around_the_prompt(url):
    for path in ("completions", "engines/copilot-codex/completions", "embeddings"):
        assert httpx.post(f"{url}/{path}", json={"prompt": "hello", "input": "hello"}).status_code == 404


def test_a_prompt_that_was_read_is_not_read_again(url, client):
    with running() as fresh:
        first, again = (_seconds(OpenAI(base_url=fresh, api_key="none")) for _ in range(2))
    assert again < first


def _seconds(client):
    prompt = OPENINGS[0] + "long " * 600
    started = datetime.now()
    ask(client, prompt, max_tokens=1)
    return (datetime.now() - started).total_seconds()


def serve(*options):
    command = [sys.executable, "-m", "tinyagent_helpers", "serve", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_what_cannot_be_served_is_said_in_one_line(url, tmp_path):
    port = url.rsplit(":", 1)[1].removesuffix("/v1")
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF and nothing more")
    for options, message in (
        (("--port", port), f"cannot listen on port {port}"),
        (("--port", "0", "--model", "nowhere.gguf"), "there is no file nowhere.gguf"),
        (("--port", "0", "--model", str(broken)), "llama.cpp cannot read"),
        (("--port", "0", "--profile", "laptop"), "no planner ships for the profile laptop"),
        (("--port", "99999"), "cannot listen on port 99999"),
    ):
        done = serve(*options)
        assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr, done.stderr
    with pytest.raises(InputError, match="the server did not start: .*there is no file"):
        with running("--model", "nowhere.gguf"):
            pass


def test_it_listens_on_this_machine_only(url):
    with listen(0) as opened:
        assert opened.getsockname()[0] == "127.0.0.1"


def test_other_servers_and_nonsense_have_no_manifest(url):
    assert served_manifest("http://127.0.0.1:9/v1") == {} and served_manifest(url.removesuffix("/v1")) == {}


def test_ask_goes_through_the_server(url, tmp_path):
    command = [sys.executable, "-m", "tinyagent_helpers", "ask", REQUEST, "--server", url, "--json", "--plan-only"]
    made = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert [s["tool"] for s in made["steps"]] == ["get_phone_number", "send_sms"] and "send_sms" in made["tools"]
