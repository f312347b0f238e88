"""Which of an entry's functions a request may be about: those whose text shares enough groups of letters with it (TF-IDF, cosine).

Chapter 04's simplest retriever, over letters instead of words, so that "densities" finds "density". It has no parameters that
were trained; what is rare, and how much is enough, is counted on the made-up functions of data/functions. See notebook 08.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from random import Random

import numpy as np

from tinyagent_helpers.functions import Function as MadeUp
from tinyagent_helpers.functions import load_functions
from tinyagent_helpers.tools import Tool

SLIPS = 0.05  # of the functions of a request's field, but not its own, are taken for it
SENTENCE = re.compile(r"(?<=[.?!])\s+|(?:,\s*|\s+)(?=and also |also |and then |then )", re.IGNORECASE)
OF_BEST = 0.5  # a function that shares less than this part of what the best one shares is not meant


def described(tool: Tool) -> str:
    """A tool's name, purpose and parameters, as words."""
    names = [tool.name, *(parameter.name for parameter in tool.parameters)]
    name, *parameters = (re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", name) for name in names)
    return f"{name}. {tool.description} {' '.join(parameters)}"


class Finder:
    """Finds functions for requests. `threshold` is the least cosine at which a function is found."""

    def __init__(self, seed: int = 0):
        from sklearn.feature_extraction.text import TfidfVectorizer

        rng = Random(f"finder-{seed}")
        self._drawn = [(f.draw(wording, rng)[0], f) for f in load_functions() for wording in f.wordings]
        self._vectors = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True)
        self._vectors.fit([*(described(f.tool) for f in load_functions()), *(said for said, _ in self._drawn)])
        self._rng = rng

    def similarity(self, requests: Sequence[str], tools: Sequence[Tool]) -> np.ndarray:
        """The cosine between each request and the tool in the same place, (requests,)."""
        ours, theirs = self._vectors.transform(requests), self._vectors.transform(list(map(described, tools)))
        return np.asarray(ours.multiply(theirs).sum(axis=1)).ravel()

    @cached_property
    def calibration(self) -> tuple[np.ndarray, np.ndarray]:
        """Similarities on the made-up functions: of requests with their own function, and with another one of its field."""
        fields: dict[str, list[MadeUp]] = {}
        for function in load_functions():
            fields.setdefault(function.field, []).append(function)
        said = [request for request, _ in self._drawn]
        others = [self._rng.choice([g for g in fields[f.field] if g is not f]).tool for _, f in self._drawn]
        return self.similarity(said, [f.tool for _, f in self._drawn]), self.similarity(said, others)

    @cached_property
    def threshold(self) -> float:
        """So high that SLIPS of the wrong functions pass."""
        return float(np.quantile(self.calibration[1], 1 - SLIPS))

    def find(self, request: str, tools: Mapping[str, Tool]) -> dict[str, Tool]:
        """The tools that the request may be about, perhaps none."""
        if not tools:
            return {}
        shared = self.similarity([request] * len(tools), list(tools.values()))
        least = max(self.threshold, OF_BEST * shared.max())
        return {name: tool for (name, tool), value in zip(tools.items(), shared) if value >= least}

    def parts(self, request: str, tools: Mapping[str, Tool]) -> list[tuple[str, dict[str, Tool]]]:
        """The request with the tools that are found for it; cut where its sentences are about different tools, each part then with
        its own. A sentence that is about none belongs to the part before it, or to the first."""
        cut: list[tuple[str, str]] = []
        for sentence in filter(None, SENTENCE.split(request)) if len(tools) > 1 else ():
            shared = self.similarity([sentence] * len(tools), list(tools.values()))
            best = list(tools)[int(shared.argmax())] if shared.max() >= self.threshold else ""
            if cut and (best in ("", cut[-1][1]) or not cut[-1][1]):
                cut[-1] = f"{cut[-1][0]} {sentence}", best or cut[-1][1]
            else:
                cut.append((sentence, best))
        if len({best for _, best in cut}) < 2:
            return [(request, self.find(request, tools))]
        return [(text, {best: tools[best]}) for text, best in cut]
