"""One interface to language models, and the planner and joiner made of it."""

import asyncio
import json
import threading
import time
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from transformers import LlamaForCausalLM

from tinyagent_helpers.agent import Agent, Round, StepRun
from tinyagent_helpers.artifacts import InputError, read_jsonl, write_json
from tinyagent_helpers.models import ServerModel, load_planner
from tinyagent_helpers.planner import ModelJoiner, ModelPlanner, observations, plan_file, write_plans
from tinyagent_helpers.plans import END_OF_PLAN
from tinyagent_helpers.profiles import PROFILES
from tinyagent_helpers.prompts import NANO_TEMPLATE, ExampleIndex, PromptTemplate
from tinyagent_helpers.tools import MAC_TOOLS, bind
from tinyagent_helpers.transformers_model import TransformersModel, add_adapter, load_base

NOW = datetime(2024, 5, 24, 9)
PLAN = '1. get_phone_number("Sid")\n2. join()' + END_OF_PLAN


@pytest.fixture
def model(tiny):
    return TransformersModel(*tiny, name="tiny", batch=3)


class Says:
    """A model that says what it was told to say, in pieces, and remembers its prompts."""

    def __init__(self, *texts, template=""):
        self.texts, self.name, self.template, self.context, self.prompts = list(texts), "says", template, 10_000, []

    def count_tokens(self, prompt):
        return len(prompt) // 3

    def stream(self, prompt, limit=300):
        self.prompts.append(prompt)
        text = self.texts.pop(0)
        yield from (text[i : i + 7] for i in range(0, len(text), 7))

    def complete(self, prompts, limit=300):
        return ["".join(self.stream(prompt)) for prompt in prompts]


def test_alone_streamed_and_in_batches_a_prompt_is_continued_alike(model):
    tools = "A long text that all prompts begin with. " * 5
    prompts = [
        tools + end for end in ("Text Sid", "Remind me to call my mother tomorrow at noon", "x", "Open it", "Go")
    ]
    together = model.complete(prompts, 12)
    assert together == [model.complete([prompt], 12)[0] for prompt in prompts]
    assert together == ["".join(model.stream(prompt, 12)) for prompt in prompts]
    assert together == model.complete(prompts, 12) and all(together)
    assert model.complete(["", "x"][1:], 3) and model.complete([], 3) == []


def test_generation_stops_when_nobody_listens(model):
    threads = threading.active_count()
    pieces = model.stream("Text Sid", 2_000)
    next(pieces)
    pieces.close()
    assert threading.active_count() == threads


def test_text_ends_with_the_end_of_the_plan(tiny):
    model, tokenizer = tiny
    end = tokenizer(PLAN)["input_ids"]

    class Fixed(LlamaForCausalLM):
        def forward(self, input_ids, **arguments):
            output = super().forward(input_ids, **arguments)
            step = arguments["past_key_values"].get_seq_length() - self.prompt_length
            output.logits[:, -1] = torch.nn.functional.one_hot(torch.tensor(end[min(step, len(end) - 1)]), 700) * 100.0
            return output

    fixed = Fixed(model.config)
    fixed.prompt_length = len(tokenizer("go")["input_ids"])
    assert "".join(TransformersModel(fixed, tokenizer, name="fixed").stream("go")) == PLAN


def test_a_chat_model_gets_the_prompt_through_its_own_template(tiny):
    from copy import deepcopy

    tokenizer = deepcopy(tiny[1])
    tokenizer.chat_template = "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}{% endfor %}[assistant] "
    model = TransformersModel(tiny[0], tokenizer, name="chat")
    assert tokenizer.decode(model.ids("hello")) == "[user] hello[assistant] "


def test_an_adapter_added_by_hand_equals_pefts_merge(tiny, tmp_path):
    from peft import LoraConfig, get_peft_model

    tiny[0].save_pretrained(tmp_path / "base")
    tiny[1].save_pretrained(tmp_path / "base")
    tuned = get_peft_model(
        load_base(PROFILES["nano"], tmp_path / "base")[0], LoraConfig(r=4, lora_alpha=8, target_modules="all-linear")
    )
    for name, parameter in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    tuned.save_pretrained(tmp_path / "adapter")
    write_json(tmp_path / "adapter" / "manifest.json", {"base": str(tmp_path / "base"), "template": "t"})
    loaded = load_planner(PROFILES["nano"], tmp_path / "adapter")
    merged = tuned.merge_and_unload().state_dict()
    assert loaded.template == "t"
    assert all(torch.allclose(tensor, merged[name], atol=1e-6) for name, tensor in loaded.model.state_dict().items())
    half = load_base(PROFILES["nano"], tmp_path / "base")[0]
    add_adapter(half, tmp_path / "adapter", 0.0)
    assert torch.equal(half.lm_head.weight, tiny[0].lm_head.weight)


def test_what_cannot_be_loaded_is_named(tmp_path):
    with pytest.raises(InputError, match="nowhere cannot be loaded"):
        load_planner(PROFILES["nano"], tmp_path / "nowhere")


def test_a_server_is_asked_and_its_stream_read():
    seen = []

    class Server(BaseHTTPRequestHandler):
        def do_POST(self):
            seen.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            for piece in ("1. join()<END", "_OF_PLAN> and", " more"):
                chunk = {"choices": [{"index": 0, "delta": {"content": piece}}]}
                self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        model = ServerModel(f"http://127.0.0.1:{server.server_port}/v1", "some-model")
        assert model.complete(["Text Sid"]) == ["1. join()<END_OF_PLAN>"]
        assert seen[0]["messages"] == [{"role": "user", "content": "Text Sid"}] and seen[0]["temperature"] == 0
    finally:
        server.shutdown()
        server.server_close()
    with pytest.raises(InputError, match="does not answer"):
        ServerModel("http://127.0.0.1:9/v1", "gone", timeout=1).complete(["x"])


def test_a_planner_refuses_a_model_of_another_template_and_a_prompt_that_does_not_fit(model):
    with pytest.raises(InputError, match="trained on another prompt template"):
        ModelPlanner(Says(template="0123"), NANO_TEMPLATE)
    small = Says()
    small.context = 400
    with pytest.raises(InputError, match="tokens"):
        ModelPlanner(small, NANO_TEMPLATE).prompt("Text Sid hello", NOW)
    assert ModelPlanner(Says(template=NANO_TEMPLATE.hash), NANO_TEMPLATE).prompt("Text Sid hello", NOW)


def test_examples_stand_in_prompts_for_second_plans_too():
    rows = [
        {"request": "text mom hi", "plan": PLAN, "tools": []},
        {"request": "open a file", "plan": PLAN, "tools": []},
    ]
    planner = ModelPlanner(Says(), PromptTemplate(examples=1), index=ExampleIndex(rows))
    assert "Question: text mom hi\n" in planner.prompt("text dad hi", NOW)
    failed = [Round(PLAN, [StepRun(1, "get_phone_number", ["Sid"], [], error="no")])]
    assert "Question: text mom hi\n" in planner.prompt("text dad hi", NOW, failed)


def test_the_agent_plans_joins_and_plans_again_with_a_model(mac):
    model = Says(
        '1. get_phone_number("Yukki")\n2. join()<END_OF_PLAN>',
        "Thought: misspelt\nAction: Replan<END_OF_PLAN>",
        '1. get_email_address("Yuki")\n2. join()<END_OF_PLAN>',
        "Thought: good\nAction: Finish(It is $1 (I think).)<END_OF_PLAN>",
    )
    agent = Agent(ModelPlanner(model, NANO_TEMPLATE), ModelJoiner(model, NANO_TEMPLATE), bind(mac))
    run = asyncio.run(agent.run("What is Yukki's address?", NOW))
    assert run.succeeded and run.answer == "It is $1 (I think)." and len(run.rounds) == 2
    assert "Observation: Error: There is no contact 'Yukki'" in model.prompts[1]
    assert "Earlier plan, which failed:" in model.prompts[2]


def test_a_planner_can_be_cancelled_while_its_model_works():
    class Slow(Says):
        def stream(self, prompt, limit=300):
            try:
                for _ in range(100):
                    time.sleep(0.05)
                    yield "x"
            finally:
                closed.append(True)

    async def cancel():
        planner = ModelPlanner(Slow(), NANO_TEMPLATE)
        task = asyncio.ensure_future(_collect(planner.stream("Text Sid", NOW, [])))
        await asyncio.sleep(0.12)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    closed, started = [], time.monotonic()
    asyncio.run(cancel())
    assert closed == [True] and time.monotonic() - started < 2


async def _collect(pieces):
    return [piece async for piece in pieces]


def test_what_fails_while_a_model_writes_is_raised_where_it_is_read(tiny, monkeypatch):
    model = TransformersModel(*tiny, name="broken")
    monkeypatch.setattr(model, "_generate", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        list(model.stream("Text Sid"))


def test_results_too_long_to_be_read_are_listed():
    model = Says("never asked")
    model.context = 350
    done = Round(PLAN, [StepRun(1, "get_phone_number", ["Sid"], [], observation="+1 23")])
    join = asyncio.run(ModelJoiner(model, NANO_TEMPLATE).join("x" * 2_000, [done], True))
    assert join.message == "+1 23" and not model.prompts


def test_a_joiner_that_writes_nonsense_or_wants_too_much_is_caught():
    failed = Round(PLAN, [StepRun(1, "get_phone_number", ["Sid"], [], error="There is no contact 'Sid'.")])
    done = Round(PLAN, [StepRun(1, "get_phone_number", ["Sid"], [], observation="+1 2\n3" + "x" * 999)])

    def verdict(text, round, may_replan=True):
        return asyncio.run(ModelJoiner(Says(text), NANO_TEMPLATE).join("x", [round], may_replan))

    assert verdict("gibberish", done).message.startswith("+1 2 3x") and len(observations(done)[0]) == 300
    assert verdict("Action: Replan", failed).replan
    assert "There is no contact" in verdict("Action: Replan", failed, may_replan=False).message
    assert "no way to do that" in verdict("never asked", Round("1. join()")).message


def test_plans_for_a_file_resume_and_bad_lines_are_named(tmp_path):
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    lines = [{"id": str(i), "request": f"Text Sid number {i}", "now": "2024-05-24T09:00:00"} for i in range(5)]
    source.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert plan_file(ModelPlanner(Says(*[PLAN] * 3), NANO_TEMPLATE), _first(source, 3, tmp_path), target) == 3
    assert plan_file(ModelPlanner(Says(*[PLAN] * 2), NANO_TEMPLATE), source, target, chunk=1) == 2
    made = list(read_jsonl(target))
    assert [row["id"] for row in made] == list("01234") and made[0] == {
        "id": "0",
        "plan": PLAN,
        "tools": list(MAC_TOOLS),
    }
    for bad, message in (
        ({"now": "soon"}, "'0': Invalid isoformat"),
        ({"request": " "}, "'0': the request is empty"),
        ({"request": "half a \ud800 pair"}, "'0': the request is not valid Unicode"),
        ({"now": "9999-12-31T09:00:00"}, "'0': the year"),
        ({"id": "1"}, "id '1' stands in it twice"),
    ):
        source.write_text("".join(json.dumps(line) + "\n" for line in [lines[0] | bad, lines[1]]))
        with pytest.raises(InputError, match=message):
            plan_file(ModelPlanner(Says(), NANO_TEMPLATE), source, tmp_path / "other.jsonl")


def test_tools_can_be_chosen_for_each_request():
    model = Says(PLAN)
    row = {"id": "1", "request": "Text Sid", "now": "2024-05-24 09:00:00"}
    write_plans(model, NANO_TEMPLATE, [row], tools=lambda row: {"send_sms": MAC_TOOLS["send_sms"]})
    assert "send_sms" in model.prompts[0] and "open_note" not in model.prompts[0]


class Finds:
    """A retriever that finds what it is told."""

    tools = MAC_TOOLS

    def __init__(self, *names):
        self.names = names

    def retrieve(self, requests):
        return [{name: MAC_TOOLS[name] for name in self.names} for _ in requests]


WRONG = '1. open_note("x", "")\n2. join()' + END_OF_PLAN


def test_only_retrieved_tools_and_examples_that_need_no_others_are_shown():
    rows = [
        {"request": "Text Ada hello", "plan": PLAN, "tools": ["get_phone_number"]},
        {"request": "Text Ada hello there", "plan": PLAN, "tools": ["send_sms"]},
    ]
    model = Says(PLAN)
    planner = ModelPlanner(model, PromptTemplate(examples=2), Finds("get_phone_number"), ExampleIndex(rows))
    assert "".join(planner.write("Text Bob hello", NOW)) == PLAN and planner.shown == ["get_phone_number"]
    assert "get_phone_number(" in model.prompts[0] and "open_note(" not in model.prompts[0]
    assert "Question: Text Ada hello\n" in model.prompts[0] and "hello there" not in model.prompts[0]


def test_an_empty_retrieval_shows_all_tools():
    model = Says(PLAN, PLAN)
    planner = ModelPlanner(model, NANO_TEMPLATE, Finds())
    assert "".join(planner.write("Text Sid", NOW)) == PLAN and planner.shown == list(MAC_TOOLS)
    made = planner.write_all([{"id": "1", "request": "Text Sid", "now": "2024-05-24 09:00:00"}])
    assert made["1"].tools == list(MAC_TOOLS) and not made["1"].again and len(model.prompts) == 2


@pytest.mark.parametrize("first", [WRONG, "1. join()", "nonsense", "", "1. get_phone_number(3)\n2. join()"])
def test_a_wrong_retrieval_is_noticed_before_anything_runs_and_all_tools_are_shown(first):
    model = Says(first, PLAN)
    planner = ModelPlanner(model, NANO_TEMPLATE, Finds("get_phone_number"))
    assert "".join(planner.write("Text Sid", NOW)) == PLAN and planner.shown == list(MAC_TOOLS)
    assert "open_note(" not in model.prompts[0] and "open_note(" in model.prompts[1]
    model = Says(first, PLAN)
    planner = ModelPlanner(model, NANO_TEMPLATE, Finds("get_phone_number"))
    made = planner.write_all([{"id": "1", "request": "Text Sid", "now": "2024-05-24 09:00:00"}])["1"]
    assert made.plan == PLAN and made.again and made.tools == list(MAC_TOOLS)


def test_a_good_first_step_is_kept_and_asked_for_once():
    model = Says(PLAN)
    planner = ModelPlanner(model, NANO_TEMPLATE, Finds("get_phone_number"))
    made = planner.write_all([{"id": "1", "request": "Text Sid", "now": "2024-05-24 09:00:00"}])["1"]
    assert made.plan == PLAN and not made.again and len(model.prompts) == 1


def test_with_all_tools_nothing_is_asked_twice():
    model = Says("1. join()")
    assert "".join(ModelPlanner(model, NANO_TEMPLATE).write("Text Sid", NOW)) == "1. join()" and len(model.prompts) == 1


def test_a_second_plan_may_use_what_the_first_one_used():
    planner = ModelPlanner(Says(), NANO_TEMPLATE, Finds("send_sms"))
    failed = Round(PLAN, [StepRun(1, "get_phone_number", ["Sid"], [], error="no")])
    assert list(planner.choose("Text Sid", [failed])) == ["get_phone_number", "send_sms"]
    assert list(planner.choose("Text Sid", [Round("1. open(")])) == list(MAC_TOOLS)
    prompt = planner.prompt("Text Sid", NOW, [failed])
    assert "send_sms(recipients" in prompt and "open_note(" not in prompt and "Observation: Error: no" in prompt


def _first(source, count, folder):
    part = folder / "part.jsonl"
    part.write_text("".join(source.read_text().splitlines(keepends=True)[:count]))
    return part
