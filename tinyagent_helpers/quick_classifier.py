"""The classifier of `tool_classifier`, read without torch: a BERT encoder in numpy, for one request at a time.

torch takes two seconds to start, which a cold `ask` does not have, and for a single sentence this is faster, too.
Source: Devlin et al., 2019 (arXiv 1810.04805), section 3; Vaswani et al., 2017, section 3. `tests/test_quick_classifier.py`
compares it with transformers'.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from tinyagent_helpers.artifacts import DATA, InputError, read_json
from tinyagent_helpers.models import read_manifest
from tinyagent_helpers.toolrag import Above
from tinyagent_helpers.tools import MAC_TOOLS, Tool, tools_hash

NANO_RETRIEVER = DATA / "models" / "nano-retriever"
LONGEST = 256  # tokens of a request that are read
SCALE = ".scale"  # of a matrix that is kept in 8 bits: what its rows are multiplied with
Weights = Mapping[str, np.ndarray]


class Calibrated:
    """Makes probabilities of the logits of a classifier: see `Classifier.calibrate` and `choose_threshold`."""

    def __init__(self, names: Sequence[str], slope: float = 1.0, offset: float = 0.0, threshold: float = 0.5):
        self.names, self.slope, self.offset, self.threshold = list(names), slope, offset, threshold

    def logits(self, requests: Sequence[str]) -> np.ndarray:
        """What the model says before it is calibrated, (requests, tools)."""
        raise NotImplementedError

    def scores(self, requests: Sequence[str]) -> np.ndarray:
        """The probability that each tool is needed, (requests, tools)."""
        return 1 / (1 + np.exp(-(self.slope * self.logits(requests) + self.offset)))


class QuickClassifier(Calibrated):
    """The classifier in a folder whose encoder is a BERT; `made` is its manifest."""

    def __init__(self, folder: Path, made: Mapping[str, Any]):
        super().__init__(made["tools"], made["slope"], made["offset"], made["threshold"])
        weights, config = load_file(folder / "model.safetensors"), read_json(folder / "config.json")
        embedded, eps = "encoder.embeddings.", config["layer_norm_eps"]
        self._words = weights[f"{embedded}word_embeddings.weight"]  # stays in 8 bits: a request needs few of its rows
        self._scales = weights[f"{embedded}word_embeddings.weight{SCALE}"]
        kinds = _matrix(weights, f"{embedded}token_type_embeddings")
        self._places = _matrix(weights, f"{embedded}position_embeddings") + kinds[0]
        self._norm = Norm.of(weights, f"{embedded}LayerNorm", eps)
        self._layers = [
            Layer.of(weights, f"encoder.encoder.layer.{number}.", config["num_attention_heads"], eps)
            for number in range(config["num_hidden_layers"])
        ]
        self._head, self._bias, self._pool = _matrix(weights, "head").T, weights["head.bias"], made["settings"]["pool"]
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(LONGEST)

    def logits(self, requests: Sequence[str]) -> np.ndarray:
        """What the model says before it is calibrated, (requests, tools)."""
        return np.array([self._logits(request) for request in requests])

    def _logits(self, request: str) -> np.ndarray:
        ids = self._tokenizer.encode(request).ids
        vectors = self._norm(self._words[ids] * self._scales[ids] + self._places[: len(ids)])  # (tokens, width)
        for layer in self._layers:
            vectors = layer(vectors)
        answers = vectors @ self._head + self._bias  # (tokens, tools)
        return answers[0] if self._pool == "cls" else np.logaddexp.reduce(answers, axis=0)


@dataclass(frozen=True)
class Norm:
    """Brings vectors to mean 0 and spread 1, then to what was learned."""

    weight: np.ndarray
    bias: np.ndarray
    eps: float

    @classmethod
    def of(cls, weights: Weights, name: str, eps: float) -> "Norm":
        """The norm of that name."""
        return cls(weights[f"{name}.weight"], weights[f"{name}.bias"], np.float32(eps))

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """(tokens, width) to the same."""
        centred = vectors - vectors.mean(axis=-1, keepdims=True)
        spread = np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + self.eps)
        return centred / spread * self.weight + self.bias


@dataclass(frozen=True)
class Linear:
    """A matrix and a bias; of several names, side by side."""

    matrix: np.ndarray
    bias: np.ndarray

    @classmethod
    def of(cls, weights: Weights, *names: str) -> "Linear":
        """The layers of these names as one."""
        matrix = np.concatenate([_matrix(weights, name).T for name in names], axis=1)
        return cls(matrix, np.concatenate([weights[f"{name}.bias"] for name in names]))

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """(tokens, width) to (tokens, other width)."""
        return vectors @ self.matrix + self.bias


@dataclass(frozen=True)
class Layer:
    """One layer of the encoder: every token looks at every other, then each is worked on by itself."""

    heads: int
    look: Linear
    mix: Linear
    mixed: Norm
    up: Linear
    down: Linear
    worked: Norm

    @classmethod
    def of(cls, weights: Weights, prefix: str, heads: int, eps: float) -> "Layer":
        """The layer whose weights have names that begin so."""
        return cls(
            heads,
            Linear.of(weights, *(f"{prefix}attention.self.{name}" for name in ("query", "key", "value"))),
            Linear.of(weights, prefix + "attention.output.dense"),
            Norm.of(weights, prefix + "attention.output.LayerNorm", eps),
            Linear.of(weights, prefix + "intermediate.dense"),
            Linear.of(weights, prefix + "output.dense"),
            Norm.of(weights, prefix + "output.LayerNorm", eps),
        )

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """(tokens, width) to the same."""
        tokens, width = vectors.shape
        apart = self.look(vectors).reshape(tokens, 3, self.heads, width // self.heads)
        queries, keys, values = apart.transpose(1, 2, 0, 3)  # each (heads, tokens, width of a head)
        likeness = queries @ keys.transpose(0, 2, 1) / np.sqrt(np.float32(width // self.heads))
        shares = np.exp(likeness - likeness.max(axis=-1, keepdims=True))
        shares /= shares.sum(axis=-1, keepdims=True)
        seen = (shares @ values).swapaxes(0, 1).reshape(tokens, width)
        vectors = self.mixed(vectors + self.mix(seen))
        return self.worked(vectors + self.down(_gelu(self.up(vectors))))


def _gelu(numbers: np.ndarray) -> np.ndarray:
    """x times the chance that a normal variable is below x, by tanh (Hendrycks and Gimpel, 2016), six times as fast as by erf."""
    root = np.float32(np.sqrt(2 / np.pi))
    return numbers * (1 + np.tanh(root * (numbers + np.float32(0.044715) * numbers * numbers * numbers))) / 2


def _matrix(weights: Weights, name: str) -> np.ndarray:
    return weights[f"{name}.weight"] * weights[f"{name}.weight{SCALE}"]


def finished_manifest(folder: Path) -> dict[str, Any]:
    """What a retriever is made of.

    Raises:
        InputError: it is not there or unfinished, or its tools are described otherwise now.
    """
    made = read_manifest(folder)
    if not made.get("finished"):
        raise InputError(f"there is no finished retriever in {folder}; train one with tinyagent train-retriever")
    if made["tools_hash"] != tools_hash():
        raise InputError(
            f"the retriever in {folder} was trained for tools that are described otherwise now; train it again"
        )
    return made


def load_retriever(folder: str | Path = "", tools: Mapping[str, Tool] = MAC_TOOLS) -> Above:
    """The classifier in a folder, or the one that ships, as a retriever with the threshold chosen for it.

    Raises:
        InputError: it is not there, broken or unfinished, or its tools are described otherwise now.
    """
    folder = Path(folder or NANO_RETRIEVER)
    made = finished_manifest(folder)
    if read_json(folder / "config.json").get("model_type") == "bert":
        try:
            classifier = QuickClassifier(folder, made)
        except (OSError, KeyError, SafetensorError) as error:
            raise InputError(f"the retriever in {folder} cannot be read ({error}); train it again") from None
    else:
        from tinyagent_helpers.tool_classifier import load_classifier

        classifier = load_classifier(folder)
    return Above(classifier, classifier.threshold, tools)
