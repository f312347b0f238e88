"""A teacher behind any OpenAI-compatible endpoint: a hosted model, or a local llama.cpp, Ollama or vLLM server."""

import json
import os
import re
from datetime import datetime
from random import Random
from typing import Any

from openai import APIConnectionError, APIError, APITimeoutError, AuthenticationError, NotFoundError, OpenAI

from tinyagent_helpers.artifacts import InputError
from tinyagent_helpers.prompts import WHAT_A_PLAN_IS, bullets, numbered, rules
from tinyagent_helpers.synthesis import Draft, TeacherError, home
from tinyagent_helpers.teacher import load_patterns
from tinyagent_helpers.times import FORMAT, draw_now
from tinyagent_helpers.tools import MAC_TOOLS

MAX_ANSWER = 700  # tokens
STYLES = (
    "a plain sentence",
    "a few keywords",
    "chatty, with background",
    "a hint rather than an order",
    "with a correction midway",
    "with typing errors",
)
INSTRUCTION = """You write training data for an assistant on a Mac. Invent one realistic request that a person could make at {now}
({weekday}) and that needs exactly these tools, each at least once:
{tools}

Rules for the plan:
{rules}

Style of the request: {style}. Use names, places and texts of your own invention.
Answer with one JSON object: {{"request": "...", "plan": "1. ...\\n2. join()<END_OF_PLAN>", "answer": "what to tell the user when all is done"}}"""


class EndpointTeacher:
    """Asks a chat model for requests and plans.

    Prices are dollars per million tokens; `budget` is a hard limit in dollars: a draft is asked for only if the worst it can
    cost still fits. The key is read from OPENAI_API_KEY.

    Raises:
        InputError: there is no key or no price for a remote endpoint.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        budget: float = 1.0,
        price_in: float = 0.0,
        price_out: float = 0.0,
        workers: int = 4,
        retries: int = 4,
        timeout: float = 60.0,
    ):
        self.name, self.model, self.workers, self.budget = f"{model} at {url}", model, workers, budget
        self.price_in, self.price_out = price_in / 1e6, price_out / 1e6
        is_local = "//127." in url or "//localhost" in url
        if not is_local and not (price_in and price_out):
            raise InputError(
                "to keep the budget, say what the endpoint costs: --price-in and --price-out, dollars per million tokens"
            )
        if workers < 1:
            raise InputError(f"--workers is {workers}; at least one is needed")
        key = os.environ.get("OPENAI_API_KEY") or ("none" if is_local else "")
        if not key:
            raise InputError(f"{url} needs a key: set the environment variable OPENAI_API_KEY")
        self._client = OpenAI(base_url=url, api_key=key, max_retries=retries, timeout=timeout)
        self._sets: dict[str, list[frozenset[str]]] = {}
        for pattern in load_patterns():
            split = home(pattern.tools, pattern.id)
            for name in ("train", "test_draws") if split == "train" else (split,):
                self._sets.setdefault(name, []).append(pattern.tools)
        longest = max(len(self._prompt(tools, Random(0))[0]) for sets in self._sets.values() for tools in sets)
        self._worst = (1 + retries) * (longest / 2 * self.price_in + MAX_ANSWER * self.price_out)

    def tool_sets(self, split: str) -> list[frozenset[str]]:
        """The sets of tools for which the recorded teacher has patterns: sets that make sense together."""
        return self._sets[split if split in self._sets else "train"]

    def may_spend(self, spent: float, in_flight: int) -> bool:
        """May one more draft be asked for without a chance of passing the budget?"""
        return spent + (in_flight + 1) * self._worst <= self.budget

    def write(self, tools: frozenset[str], split: str, rng: Random) -> Draft:
        """Ask for one draft; the client retries by itself when the server is busy or does not answer.

        Raises:
            TeacherError: the model's answer is of no use.
            InputError: the endpoint cannot be used at all.
        """
        prompt, now, style = self._prompt(tools, rng)
        try:
            reply = self._client.chat.completions.create(
                model=self.model,
                messages=[{"role": "user", "content": prompt}],
                max_tokens=MAX_ANSWER,
                seed=rng.randrange(2**31),
                response_format={"type": "json_object"},
            )
            cost = self._cost(reply)
            return _read(reply.choices[0].message.content, now, self.model, style, cost)
        except APITimeoutError:
            raise TeacherError("the endpoint did not answer in time", self._worst) from None
        except (APIConnectionError, AuthenticationError, NotFoundError) as error:
            remedy = "check the URL, the model's name and the key"
            raise InputError(f"{self.name} cannot be used ({error}); {remedy}") from None
        except APIError as error:
            raise TeacherError(f"the endpoint failed: {error}") from None
        except (ValueError, TypeError, AttributeError, LookupError) as error:
            raise TeacherError(f"not a chat completion ({error!r:.100})", self._worst) from None

    def _cost(self, reply: Any) -> float:
        """What a reply cost by its own account; the most it can have cost, if that account is impossible."""
        read, written = reply.usage.prompt_tokens, reply.usage.completion_tokens
        cost = read * self.price_in + written * self.price_out
        return min(cost, self._worst) if read >= 0 and written >= 0 else self._worst

    def _prompt(self, tools: frozenset[str], rng: Random) -> tuple[str, datetime, str]:
        now, style = draw_now(rng), rng.choice(STYLES)
        text = INSTRUCTION.format(
            now=now.strftime(FORMAT),
            weekday=now.strftime("%A"),
            tools=numbered(MAC_TOOLS[name] for name in sorted(tools)),
            rules=bullets([WHAT_A_PLAN_IS[1], *rules(tools), "The last line is join() and <END_OF_PLAN>."]),
            style=style,
        )
        return text, now, style


def _read(content: str | None, now: datetime, model: str, style: str, cost: float) -> Draft:
    """Turn the model's answer, which is not trusted, into a draft."""
    try:
        fields = json.loads(content or "")
        request, plan, answer = (fields[key] for key in ("request", "plan", "answer"))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise TeacherError(f"not the JSON object that was asked for ({error!r})", cost) from None
    if not all(isinstance(text, str) for text in (request, plan, answer)):
        raise TeacherError("request, plan and answer must be text", cost)
    if any(re.search("[\ud800-\udfff]", text) for text in (request, plan, answer)):
        raise TeacherError("request, plan and answer must be Unicode text", cost)
    return Draft(request.strip(), plan, answer, now, model, style, cost)
