"""Whisper models in the layout that whisper.cpp reads: a tiny one of random weights, and a check that a file is whole.

The random model stands in for a real one in tests and without a network: whisper.cpp loads and runs it like any other,
and **what it writes is nonsense**, whatever was said. The layout is that of whisper.cpp's `convert-pt-to-ggml.py`:
magic, shape, mel filters, vocabulary, tensors; integers have 32 bits, the lowest first.
"""

import os
import struct
from collections.abc import Iterator
from itertools import islice, product
from math import prod
from pathlib import Path
from typing import BinaryIO

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

from tinyagent_helpers.artifacts import InputError

MAGIC = b"lmgg"  # "ggml" as a number
VOCABULARY, WORDS = 51_864, 50_256  # an English model's; the tokens after the words are whisper.cpp's, by number
END = WORDS  # the first of these ends a text
MELS, BINS = 80, 201
AUDIO_CONTEXT, TEXT_CONTEXT = 1_500, 64  # frames of 20 ms, half a minute; tokens
LARGEST = 1_000_000  # no number in a real file is larger
HOW_TO_GET = "get ggml-base.en.bin (148 MB) from huggingface.co/ggerganov/whisper.cpp and give its path"


def random_whisper(path: str | Path, seed: int = 0, width: int = 64, words: int = 12) -> Path:
    """Write a whole model of one layer with random weights, 8 MB, the same for the same seed. It writes nonsense: about
    as many made-up words as asked for, for each half minute of sound.

    Raises:
        InputError: the file cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    shape = (VOCABULARY, AUDIO_CONTEXT, width, 2, 1, TEXT_CONTEXT, width, 2, 1, MELS, GGMLQuantizationType.F16)
    try:
        with temporary.open("wb") as file:
            file.write(MAGIC + _integers(*shape, MELS, BINS) + _mel_filters().tobytes() + _integers(WORDS))
            file.writelines(_integers(len(word)) + word for word in islice(_made_up_words(), WORDS))
            for name, values in _tensors(np.random.default_rng(seed), width, words):
                kind = GGMLQuantizationType.F16 if values.dtype == np.float16 else GGMLQuantizationType.F32
                file.write(_integers(values.ndim, len(name), kind, *reversed(values.shape)) + name.encode())
                file.write(values.tobytes())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise InputError(f"cannot write {path} ({error.strerror}); choose another place") from None
    return path


def _integers(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}i", *values)


def _mel_filters() -> np.ndarray:
    """Overlapping triangles [MELS, BINS]; real ones lie closer together where the ear hears finer."""
    centres = np.linspace(2, BINS - 2, MELS)[:, None]
    return np.maximum(0, 1 - np.abs(np.arange(BINS) - centres) / 3).astype(np.float32)


def _made_up_words() -> Iterator[bytes]:
    yield b" "  # whisper.cpp looks it up, and ends the process when it is missing
    syllables = ["".join(pair) for pair in product("bdfklmnr", "aeiou")]
    yield from (f" {''.join(word)}".encode() for word in product(syllables, repeat=3))


def _tensors(random: np.random.Generator, width: int, words: int) -> Iterator[tuple[str, np.ndarray]]:
    """Names and values. Tokens weigh little beside places, so that a word follows from its place and the sound and not
    from the word before it; the places after the last word point at the end of the text."""
    values = {}
    for name, shape in _shapes(width):
        if name.endswith("bias"):
            values[name] = np.zeros(shape, np.float32)
        elif len(shape) == 1:
            values[name] = np.ones(shape, np.float32)
        elif name.endswith("positional_embedding"):
            values[name] = random.standard_normal(shape, np.float32)
        else:
            values[name] = (random.standard_normal(shape, np.float32) / prod(shape[1:]) ** 0.5).astype(np.float16)
    tokens = values["decoder.token_embedding.weight"]
    tokens[END + 1 :] = 0  # times and the like, which are never said
    values["decoder.positional_embedding"][words:] = tokens[END] / np.std(tokens[END]) * 10
    values["decoder.ln.weight"] *= 8  # so that one word is much likelier than the others
    yield from values.items()


def _shapes(width: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    wide = 4 * width
    for part, places, attentions in (
        ("encoder", AUDIO_CONTEXT, ["attn"]),
        ("decoder", TEXT_CONTEXT, ["attn", "cross_attn"]),
    ):
        yield f"{part}.positional_embedding", (places, width)
        block = f"{part}.blocks.0"
        linears = {f"{name}.{what}": (width, width) for name in attentions for what in ("query", "key", "value", "out")}
        for name, shape in {**linears, "mlp.0": (wide, width), "mlp.2": (width, wide)}.items():
            yield f"{block}.{name}.weight", shape
            if not name.endswith("key"):
                yield f"{block}.{name}.bias", shape[:1]
        last = "encoder.ln_post" if part == "encoder" else "decoder.ln"
        for norm in [*(f"{block}.{name}_ln" for name in [*attentions, "mlp"]), last]:
            yield f"{norm}.weight", (width,)
            yield f"{norm}.bias", (width,)
    for name, inputs in (("conv1", MELS), ("conv2", width)):
        yield f"encoder.{name}.weight", (width, inputs, 3)
        yield f"encoder.{name}.bias", (width, 1)
    yield "decoder.token_embedding.weight", (VOCABULARY, width)


def check_whisper(path: str | Path) -> None:
    """See that a file is a whole Whisper model: whisper.cpp trusts what it reads, and a broken one may end the process.

    Raises:
        InputError: it is missing, something else, or cut off.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no speech model {path}; {HOW_TO_GET}")
    try:
        with path.open("rb") as file:
            _walk(file, path.stat().st_size)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not a whole Whisper model in ggml's format ({error}); {HOW_TO_GET}") from None


def _walk(file: BinaryIO, size: int) -> None:
    if file.read(4) != MAGIC:
        raise ValueError("it does not begin like one")
    *shape, _kind, mels, bins = _read(file, 13)
    if shape[0] < VOCABULARY or 0 in shape:
        raise ValueError("its dimensions make no sense")
    file.seek(4 * mels * bins, os.SEEK_CUR)
    for _ in range(*_read(file, 1)):
        file.seek(*_read(file, 1), os.SEEK_CUR)
    tensors = 0
    while file.tell() < size:
        dimensions, length, kind = _read(file, 3)
        count = prod(_read(file, min(dimensions, 4)))
        per_block, block = GGML_QUANT_SIZES[GGMLQuantizationType(kind)]
        file.seek(length + count // per_block * block, os.SEEK_CUR)
        tensors += 1
    if file.tell() != size or tensors != 11 + 15 * shape[4] + 24 * shape[8]:
        raise ValueError("it is cut off")


def _read(file: BinaryIO, count: int) -> tuple[int, ...]:
    content = file.read(4 * count)
    if len(content) < 4 * count:
        raise ValueError("it is cut off")
    values = struct.unpack(f"<{count}i", content)
    if not all(0 <= value < LARGEST for value in values):
        raise ValueError("its numbers make no sense")
    return values
