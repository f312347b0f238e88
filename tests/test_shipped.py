"""The models in data/ belong to this template, these tools and these data, and do what is claimed of them."""

import asyncio
import time
from datetime import datetime

import pytest
from safetensors import safe_open

from tinyagent_helpers.agent import Agent
from tinyagent_helpers.artifacts import DATA, digest, read_json, read_jsonl
from tinyagent_helpers.evaluation import needed_tools
from tinyagent_helpers.mac.simulated import SimulatedMac
from tinyagent_helpers.models import NANO_ADAPTER, NANO_BASE, NANO_CALLER, NANO_PLANNER, load_planner
from tinyagent_helpers.planner import ModelJoiner, ModelPlanner, write_plans
from tinyagent_helpers.profiles import PROFILES
from tinyagent_helpers.prompts import NANO_TEMPLATE
from tinyagent_helpers.quick_classifier import NANO_RETRIEVER, load_retriever
from tinyagent_helpers.scoring import score
from tinyagent_helpers.toolrag import figures
from tinyagent_helpers.tools import MAC_TOOLS, bind, tools_hash
from tinyagent_helpers.transformers_model import load_trained

NOW = datetime(2024, 5, 24, 9)
SHIPPED = (NANO_BASE, NANO_ADAPTER, NANO_CALLER, NANO_PLANNER.parent, NANO_RETRIEVER)


@pytest.fixture(scope="module")
def planner():
    return load_planner(PROFILES["nano"])


def test_base_and_adapter_were_made_for_this_template_and_these_tools():
    base, adapter = (read_json(folder / "manifest.json") for folder in (NANO_BASE, NANO_ADAPTER))
    assert base["template"] == adapter["template"] == NANO_TEMPLATE.hash, "pre-train and fine-tune again, then ship"
    assert adapter["tools"] == tools_hash(), "fine-tune again, then ship"
    assert adapter["weights"] == digest(NANO_BASE / "model.safetensors")
    assert {"command", "minutes", "hardware", "tokens", "data", "settings"} <= set(base)


def test_only_safe_and_small_files_ship():
    files = [path for folder in SHIPPED for path in folder.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".safetensors", ".gguf"}
    assert read_json(NANO_ADAPTER / "adapter_config.json")["base_model_name_or_path"] is None, (
        "nobody else has that path"
    )
    for folder in SHIPPED:
        assert sum(path.stat().st_size for path in folder.iterdir()) < 25e6
    with safe_open(NANO_BASE / "model.safetensors", "pt") as tensors:
        parameters = sum(tensors.get_tensor(key).numel() for key in tensors.keys())
    assert 5e6 <= parameters <= 10e6


def test_the_gguf_file_is_the_adapter_that_ships(planner):
    for path, kind in ((NANO_PLANNER, "F16"), (NANO_PLANNER.with_name("planner-Q4_0.gguf"), "Q4_0")):
        made = read_json(path.with_suffix(".json"))
        assert made["made of"] == digest(*sorted(NANO_ADAPTER.glob("*.safetensors"))), "quantize again, then ship"
        assert made["file"] == digest(path) and made["tools"] == tools_hash() and made["type"] == kind
        assert planner.template == made["template"] == NANO_TEMPLATE.hash
    assert path.stat().st_size <= 0.31 * NANO_PLANNER.stat().st_size, "the goal: 4 bits take at most 0.31 of 16"
    rows = list(read_jsonl(DATA / "handwritten" / "dev.jsonl"))[:24]
    whole = load_trained(PROFILES["nano"], NANO_ADAPTER)
    assert [planner.ids(row["request"]) for row in rows] == [whole.ids(row["request"]) for row in rows]
    plans = [write_plans(model, NANO_TEMPLATE, rows, tools=needed_tools) for model in (planner, whole)]
    assert plans[0] == plans[1]


@pytest.mark.minutes
def test_the_gguf_file_writes_the_plans_of_transformers_on_two_hundred_requests(planner):
    rows = [row for half in ("dev", "test") for row in read_jsonl(DATA / "handwritten" / f"{half}.jsonl")][:204]
    whole = load_trained(PROFILES["nano"], NANO_ADAPTER)
    plans = [write_plans(model, NANO_TEMPLATE, rows, tools=needed_tools) for model in (planner, whole)]
    assert len(rows) >= 200 and plans[0] == plans[1]


def test_the_retriever_was_made_for_these_tools_and_finds_them():
    made, retriever = read_json(NANO_RETRIEVER / "manifest.json"), load_retriever()
    assert made["tools"] == list(MAC_TOOLS) and made["tools_hash"] == tools_hash(), "train-retriever again, then ship"
    assert {"command", "hardware", "seconds", "data", "validation", "slope", "offset"} <= set(made)
    rows = list(read_jsonl(DATA / "handwritten" / "dev.jsonl"))
    found = figures(retriever.retrieve([row["request"] for row in rows]), [needed_tools(row) for row in rows])
    assert found["recall"] >= 0.95 and found["tools"] <= 3.97 and found["empty"] < 0.02


def test_retrieval_takes_less_than_twenty_milliseconds():
    retriever, rows = load_retriever(), list(read_jsonl(DATA / "handwritten" / "dev.jsonl"))[:30]
    times = []
    for row in rows:
        started = time.perf_counter()
        retriever.retrieve([row["request"]])
        times.append(time.perf_counter() - started)
    assert sorted(times)[len(times) // 2] < 0.02


def test_the_planner_that_ships_plans_and_plans_alike_twice(planner):
    rows = list(read_jsonl(DATA / "handwritten" / "dev.jsonl"))[:24]
    plans = write_plans(planner, NANO_TEMPLATE, rows)
    assert plans == write_plans(planner, NANO_TEMPLATE, rows)
    assert score(plans, {row["id"]: row["plan"] for row in rows}).successes >= 8


def test_a_request_is_carried_out_and_later_plans_take_a_second(planner, tmp_path):
    agent = Agent(
        ModelPlanner(planner, NANO_TEMPLATE, load_retriever()),
        ModelJoiner(planner, NANO_TEMPLATE),
        bind(SimulatedMac(tmp_path / "mac", NOW)),
    )
    asyncio.run(agent.run("Open lease.pdf", NOW))
    started = time.perf_counter()
    run = asyncio.run(agent.run("Text Sid that I am late", NOW))
    assert run.succeeded and run.answer
    assert run.rounds[0].planned < 1 and time.perf_counter() - started < 5


def test_a_misspelt_name_leads_to_a_second_plan(planner, tmp_path):
    template, mac = NANO_TEMPLATE, SimulatedMac(tmp_path / "mac", NOW)
    run = asyncio.run(
        Agent(ModelPlanner(planner, template), ModelJoiner(planner, template), bind(mac)).run(
            "Text Lutfy that I am late", NOW
        )
    )
    assert [round.join.replan for round in run.rounds] == [True, False] and run.succeeded
    assert "Lutfi Erdogan" in run.rounds[1].plan and "I am late" in run.rounds[1].steps[1].arguments[1]
