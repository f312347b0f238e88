"""Pairs of answers, a better and a worse one: from training rows and a weaker model, or from AgentBank's conversations.

Derived in notebook 05. Source of the recipe: TinyLLM (arXiv 2511.22138): the training data's own answer is chosen, a weaker
model's is rejected, and pairs are checked by hand.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from tinyagent_helpers.artifacts import InputError, Log, digest_text, make_folder, read_jsonl
from tinyagent_helpers.profiles import Profile
from tinyagent_helpers.prompts import PromptTemplate
from tinyagent_helpers.scoring import success

VERDICTS = ("keep", "drop")
ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}
Message = dict[str, str]


@dataclass(frozen=True)
class Preference:
    """After this prompt, `chosen` is better than `rejected`. All three are texts, or lists of chat messages."""

    id: str
    prompt: str | list[Message]
    chosen: str | list[Message]
    rejected: str | list[Message]


def preference_pairs(
    rows: Sequence[Mapping[str, Any]], prompts: Sequence[str], answers: Sequence[str], template: PromptTemplate
) -> tuple[list[Preference], list[Preference]]:
    """A pair for every row: its plan is chosen, a model's answer to the same prompt rejected. Returned are the pairs that teach
    something, and those that must be dropped, as the rejected plan is right, too.

    `answers` are texts as the model writes them.
    """
    kept, dropped = [], []
    for row, prompt, answer in zip(rows, prompts, answers, strict=True):
        pair = Preference(row["id"], prompt, template.write(row["plan"]), answer)
        right = success("".join(template.read([answer])), row["plan"])
        (dropped if right else kept).append(pair)
    return kept, dropped


class Review:
    """Verdicts on pairs, given by a person and kept in a file, a line each: a review can be interrupted and gone on with. A
    verdict is on these two answers: if a pair of the same id has others, it has none.

    Raises:
        InputError: the file cannot be read or written, or holds something else.
    """

    def __init__(self, path: Path):
        make_folder(path.parent)
        self._log = Log(path)
        lines = read_jsonl(path, ("id", "verdict", "answers"))
        self._verdicts = {(line["id"], line["answers"]): line["verdict"] for line in lines}

    def give(self, pair: Preference, verdict: str) -> None:
        """Note a verdict, "keep" or "drop"; a later one on the same pair counts.

        Raises:
            InputError: it is neither.
        """
        if verdict not in VERDICTS:
            raise InputError(f"{verdict!r} is no verdict on {pair.id}; say {' or '.join(VERDICTS)}")
        id, answers = _key(pair)
        self._log.append({"id": id, "verdict": verdict, "answers": answers})
        self._verdicts[id, answers] = verdict

    def verdict(self, pair: Preference) -> str | None:
        """What was said of a pair; None if nothing was."""
        return self._verdicts.get(_key(pair))

    def table(
        self, pairs: Sequence[Preference], count: int = 5, read: Callable[[str], str] = lambda text: text
    ) -> pd.DataFrame:
        """The next pairs without a verdict: id, the request that ends the prompt, what is chosen and what rejected; `read` makes
        of a model's text what a person should see."""
        left = [pair for pair in pairs if not self.verdict(pair)][:count]
        rows = [
            (pair.id, _last_line(pair.prompt), read(_text(pair.chosen)), read(_text(pair.rejected))) for pair in left
        ]
        return pd.DataFrame(rows, columns=["id", "request", "chosen", "rejected"])

    def accepted(self, pairs: Iterable[Preference]) -> list[Preference]:
        """The pairs that were not dropped; one without a verdict stays."""
        return [pair for pair in pairs if self.verdict(pair) != "drop"]

    def close(self) -> None:
        """Close the file."""
        self._log.close()


def _key(pair: Preference) -> tuple[str, str]:
    return pair.id, digest_text(repr((pair.chosen, pair.rejected)))


def _text(said: str | list[Message]) -> str:
    return said if isinstance(said, str) else "\n".join(message["content"] for message in said)


def _last_line(prompt: str | list[Message]) -> str:
    """What a prompt asks: its question, or the last message of a conversation."""
    text = _text(prompt if isinstance(prompt, str) else prompt[-1:])
    return text.rpartition("Question: ")[2].removesuffix("\nPlan:\n") if isinstance(prompt, str) else text


def turns_of(conversation: Mapping[str, Any]) -> list[tuple[str, list[Message], Message]]:
    """A conversation in AgentBank's format, `{"id", "conversations": [{"from", "value"}]}`, as one (id, prompt, answer) for every
    turn of the model: the prompt is all that was said before.

    Raises:
        InputError: a turn lacks a part, comes from somebody unknown, or is not the other one's.
    """
    name, turns = conversation.get("id"), conversation.get("conversations")
    if not isinstance(name, str) or not isinstance(turns, list):
        raise InputError(
            f'a conversation must have "id" (text) and "conversations" (a list); this has {list(conversation)}'
        )
    messages, made = [], []
    for number, turn in enumerate(turns, 1):
        place = f"conversation {name!r}, turn {number}"
        who, said = (turn.get("from"), turn.get("value")) if isinstance(turn, dict) else (None, None)
        if who not in ROLES or not isinstance(said, str):
            raise InputError(
                f'{place}: expected {{"from": one of {", ".join(ROLES)}, "value": text}}, not {turn!r:.80}'
            )
        if messages and messages[-1]["role"] == ROLES[who]:
            raise InputError(f"{place}: two turns of the same side in a row; was one left out?")
        message = {"role": ROLES[who], "content": said}
        if message["role"] == "assistant":
            if not messages:
                raise InputError(f"{place}: the model speaks first; a prompt is missing")
            made.append((f"{name}-{len(made)}", list(messages), message))
        messages.append(message)
    return made


def agentbank_pairs(
    conversations: Iterable[Mapping[str, Any]], answers: Mapping[str, str]
) -> tuple[list[Preference], list[Preference]]:
    """Pairs from AgentBank's conversations: what stands there is chosen, a weaker model's answer (by the id of `turns_of`)
    rejected. Pairs to learn from, and those dropped because both say the same. A turn without an answer gives none.

    Raises:
        InputError: a conversation is malformed.
    """
    kept, dropped = [], []
    for conversation in conversations:
        for id, prompt, right in turns_of(conversation):
            if id in answers:
                pair = Preference(id, prompt, [right], [{"role": "assistant", "content": answers[id]}])
                same = answers[id].split() == right["content"].split()
                (dropped if same else kept).append(pair)
    return kept, dropped


def load_agentbank(profile: Profile, part: str = "alfred") -> list[dict[str, Any]]:
    """A part of AgentBank (Solaris99/AgentBank on the hub, Apache-2.0) as conversations.

    Raises:
        InputError: the profile may not use the hub, or the hub cannot be reached.
    """
    if not profile.network:
        raise InputError(f"the profile {profile.name} uses no network; data/agentbank/sample.jsonl has the same format")
    from datasets import load_dataset

    try:
        return list(load_dataset("Solaris99/AgentBank", part, split="train"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"AgentBank's part {part} cannot be fetched ({error}); check the network and the name"
        ) from None
