"""Which tools does a request need? Retrievers behind one interface, and how good they are. Derived in notebook 04.

Source: the TinyAgent blog post, "Fine-tuned Tool RAG"; tools known by how they are used: Tool2Vec (Moon et al., 2024,
arXiv 2409.02141, section 3).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from tinyagent_helpers.artifacts import InputError, make_folder
from tinyagent_helpers.tools import MAC_TOOLS, Tool

RECALL = (
    0.995  # of the needed tools on validation; 0.998, which the blog post reports, would take four times the tools here
)

Embed = Callable[[Sequence[str]], np.ndarray]  # texts to vectors, (texts, dimensions)


class Retriever(Protocol):
    """Chooses the tools that a planner is shown, from `tools`."""

    tools: Mapping[str, Tool]

    def retrieve(self, requests: Sequence[str]) -> list[dict[str, Tool]]:
        """For each request some of the tools, always in the same order; perhaps none."""


class Scorer(Protocol):
    """Says how much each tool looks needed."""

    names: Sequence[str]

    def scores(self, requests: Sequence[str]) -> np.ndarray:
        """(requests, tools); the higher, the likelier."""


class AllTools:
    """No retrieval: every request gets every tool."""

    def __init__(self, tools: Mapping[str, Tool] = MAC_TOOLS):
        self.tools = tools

    def retrieve(self, requests: Sequence[str]) -> list[dict[str, Tool]]:
        """All of them, each time."""
        return [dict(self.tools) for _ in requests]


@dataclass(frozen=True)
class Best:
    """The `count` tools with the highest scores."""

    scorer: Scorer
    count: int
    tools: Mapping[str, Tool]

    def retrieve(self, requests: Sequence[str]) -> list[dict[str, Tool]]:
        """As many for a short request as for a long one."""
        scores = self.scorer.scores(requests)
        ranks = (-scores).argsort(axis=1, kind="stable").argsort(axis=1)
        return _chosen(ranks < self.count, self.scorer.names, self.tools)


@dataclass(frozen=True)
class Above:
    """Every tool whose score reaches the threshold."""

    scorer: Scorer
    threshold: float
    tools: Mapping[str, Tool]

    def retrieve(self, requests: Sequence[str]) -> list[dict[str, Tool]]:
        """As many as look needed, perhaps none."""
        return _chosen(self.scorer.scores(requests) >= self.threshold, self.scorer.names, self.tools)


def _chosen(mask: np.ndarray, names: Sequence[str], tools: Mapping[str, Tool]) -> list[dict[str, Tool]]:
    wanted = [{name for name, chosen in zip(names, row) if chosen} for row in mask]
    return [{name: tool for name, tool in tools.items() if name in row} for row in wanted]


class ToolVectors:
    """A vector for every tool; a request's score is the cosine between them and its own. A tool more is a vector more."""

    def __init__(self, embed: Embed, vectors: Mapping[str, np.ndarray]):
        self.embed, self.vectors = embed, dict(vectors)

    @classmethod
    def of_descriptions(cls, embed: Embed, tools: Mapping[str, Tool]) -> "ToolVectors":
        """A tool is where its name and description lie."""
        texts = [f"{name.replace('_', ' ')}: {tool.description}" for name, tool in tools.items()]
        return cls(embed, dict(zip(tools, embed(texts), strict=True)))

    @classmethod
    def of_usage(cls, embed: Embed, requests: Mapping[str, Sequence[str]]) -> "ToolVectors":
        """A tool is where the requests lie that used it: the mean of their vectors (Tool2Vec)."""
        made = cls(embed, {})
        for name, asked in requests.items():
            made.add(name, asked)
        return made

    def add(self, name: str, requests: Sequence[str]) -> None:
        """Learn a tool, or learn it anew, from requests that used it; no training, and no other tool changes.

        Raises:
            InputError: there is no request.
        """
        if not requests:
            raise InputError(f"{name} cannot be added without a request that uses it; write a few")
        self.vectors[name] = _unit(self.embed(requests)).mean(axis=0)

    @property
    def names(self) -> list[str]:
        """The tools, in the order of the scores' columns."""
        return list(self.vectors)

    def scores(self, requests: Sequence[str]) -> np.ndarray:
        """Cosines, (requests, tools), of vectors from which what all tools have in common is taken away."""
        vectors = np.array(list(self.vectors.values()))
        middle = vectors.mean(axis=0)
        return _unit(self.embed(requests) - middle) @ _unit(vectors - middle).T

    def save(self, path: Path) -> None:
        """Write the vectors as safetensors; the order of the tools travels with them."""
        make_folder(path.parent)
        tensors = {
            f"{i:04}/{name}": np.ascontiguousarray(v, np.float32) for i, (name, v) in enumerate(self.vectors.items())
        }
        save_file(tensors, path)

    @classmethod
    def load(cls, embed: Embed, path: Path) -> "ToolVectors":
        """Read what `save` wrote.

        Raises:
            InputError: it is missing or broken.
        """
        try:
            found = load_file(path)
        except (OSError, SafetensorError) as error:
            raise InputError(f"the tool vectors in {path} cannot be read ({error}); save them again") from None
        return cls(embed, {key.partition("/")[2]: found[key] for key in sorted(found)})


def word_vectors(texts: Iterable[str]) -> Embed:
    """An embedding that needs no network: which words and pairs of words a text has, rare ones counting more (TF-IDF).

    `texts` say which words there are, and how rare they are.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer  # takes a second, which a cold `ask` does not have

    vectorizer = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2)).fit(texts)
    return lambda asked: vectorizer.transform(asked).toarray()


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def labels_of(rows: Iterable[Mapping[str, Any]], names: Sequence[str]) -> np.ndarray:
    """Which tools rows need, as the classifier learns it: (rows, tools), true or false."""
    return np.array([[name in row["tools"] for name in names] for row in rows], dtype=bool)


def recalls(shown: np.ndarray, needed: np.ndarray) -> np.ndarray:
    """For each request the share of its needed tools that are shown: both (requests, tools) of true and false."""
    return (shown & needed).sum(axis=1) / np.maximum(1, needed.sum(axis=1))


def choose_threshold(scores: np.ndarray, needed: np.ndarray, recall: float = RECALL) -> float:
    """The highest threshold with which the mean recall on these (validation) requests still reaches `recall`.

    Raises:
        InputError: no request needs a tool.
    """
    if not needed.any():
        raise InputError("a threshold is chosen on requests that need tools; these need none")
    candidates = np.unique(scores[needed])  # recall only changes where a needed tool falls out
    low, high = 0, len(candidates) - 1
    while low < high:  # recall falls as the threshold rises
        middle = (low + high + 1) // 2
        good = recalls(scores >= candidates[middle], needed).mean() >= recall
        low, high = (middle, high) if good else (low, middle - 1)
    return float(candidates[low])


def figures(shown: Sequence[Iterable[str]], needed: Sequence[Iterable[str]]) -> dict[str, float]:
    """How good a retriever's choices are: mean share of needed tools shown ("recall"), share of requests with all of them
    shown ("whole set"), mean number of tools shown ("tools"), share with none ("empty")."""
    pairs = [(set(made), set(wanted)) for made, wanted in zip(shown, needed, strict=True)]
    found = [len(made & wanted) / max(1, len(wanted)) for made, wanted in pairs]
    return {
        "recall": float(np.mean(found)),
        "whole set": float(np.mean([wanted <= made for made, wanted in pairs])),
        "tools": float(np.mean([len(made) for made, _ in pairs])),
        "empty": float(np.mean([not made for made, _ in pairs])),
    }
