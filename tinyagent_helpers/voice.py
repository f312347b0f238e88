"""From a voice to a request: sound from a file or a microphone, the silence cut off, recognised on this machine.

Sound is an array [samples] of float32 between -1 and 1, mono, 16,000 samples a second: what Whisper hears.
"""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np
import soundfile
from scipy.signal import resample_poly

from tinyagent_helpers.artifacts import InputError
from tinyagent_helpers.models import threads_for
from tinyagent_helpers.sanity import check_request
from tinyagent_helpers.whisper_file import HOW_TO_GET, check_whisper

RATE = 16_000  # samples a second
RATES = range(4_000, 400_000)  # what recordings have; others are a broken header
MAX_SECONDS = 300
FRAME = RATE // 50  # samples in 20 ms; loudness is measured in such frames
MIN_SPEECH = 5  # frames; a click is shorter, a "yes" longer
MARGIN = 10  # frames that are kept before and after what is said
LOWEST, HIGHEST = -50.0, -30.0  # dB of full scale: below, nobody ever speaks; above, it is not the background
ABOVE_BACKGROUND = 10.0  # dB by which a voice stands out
PAUSE = 25  # frames, half a second, over which loudness is averaged to find a pause between words, not within one
WINDOW = 30 * 50  # frames; Whisper hears half a minute at once
MARKS = re.compile(
    r"\[[^]]*]|\([^)]*\)|\*[^*]*\*|[♪\ufffd]"
)  # "[BLANK_AUDIO]", "(wind blowing)", "*sighs*"; half letters
_WHISPER = threading.Lock()


def read_audio(path: str | Path) -> np.ndarray:
    """Sound [samples] from a file of any kind that soundfile reads: WAV, FLAC, OGG, MP3; several channels are mixed.

    Raises:
        InputError: it is missing, no sound, empty, broken, or longer than MAX_SECONDS.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no recording {path}; check the name")
    try:
        with soundfile.SoundFile(path) as file:
            rate = file.samplerate
            if rate not in RATES:
                raise InputError(f"{path} claims {rate:,} samples a second; save it again, at {RATE:,}")
            _check_length(file.frames / rate, str(path))
            channels = file.read(dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, TypeError) as error:  # TypeError: a name that promises a file without a header
        raise InputError(f"{path} cannot be read as sound ({error}); save it as WAV, FLAC, OGG or MP3") from None
    return check_samples(resample_poly(channels.mean(axis=1), RATE, rate), str(path))


def record(seconds: float) -> np.ndarray:
    """Sound [samples] from the microphone, through the optional library sounddevice.

    Raises:
        InputError: the library or a microphone is missing, or the time makes no sense.
    """
    _check_length(seconds, "the recording asked for")
    try:
        import sounddevice
    except (ImportError, OSError) as error:  # OSError: the library is there, but not PortAudio, which it stands on
        remedy = "pip install sounddevice (on Linux, also apt install libportaudio2), or give a file"
        raise InputError(f"recording needs the library sounddevice ({error}); {remedy}") from None
    try:
        sound = sounddevice.rec(int(seconds * RATE), samplerate=RATE, channels=1, dtype="float32", blocking=True)
    except sounddevice.PortAudioError as error:
        raise InputError(f"no microphone can be used ({error}); connect and allow one, or give a file") from None
    return check_samples(sound[:, 0], "the microphone's sound")


def _check_length(seconds: float, where: str) -> None:
    if not 0 < seconds <= MAX_SECONDS:
        raise InputError(f"{where} is {seconds:,.1f} s long; give more than 0 s and at most {MAX_SECONDS} s")


def check_samples(samples: np.ndarray, where: str) -> np.ndarray:
    """Sound [samples] as it should be, cut to [-1, 1].

    Raises:
        InputError: naming `where` it came from: not one row of finite numbers, empty, or longer than MAX_SECONDS.
    """
    samples = np.asarray(samples, np.float32)
    if samples.ndim != 1:
        raise InputError(f"{where} has the shape {samples.shape}; give one row of samples, mono")
    _check_length(len(samples) / RATE, where)
    if not np.isfinite(samples).all():
        raise InputError(f"{where} has samples that are not finite numbers; record or convert it again")
    return np.clip(samples, -1, 1)


def levels(samples: np.ndarray) -> np.ndarray:
    """How loud each frame of 20 ms is, in dB of full scale [frames]; the last is filled up with silence."""
    filled = np.pad(samples, (0, max(FRAME - len(samples), -len(samples) % FRAME))).reshape(-1, FRAME)
    return 10 * np.log10(np.square(filled, dtype=np.float64).mean(axis=1) + 1e-12)


def spoken(samples: np.ndarray) -> np.ndarray:
    """In which frames somebody seems to speak [frames, bool]: those that stand out from the recording's background."""
    level = levels(samples)
    return level > np.clip(np.percentile(level, 10) + ABOVE_BACKGROUND, LOWEST, HIGHEST)


def is_silent(samples: np.ndarray) -> bool:
    """Whether nobody speaks, not even for a tenth of a second."""
    return bool(spoken(samples).sum() < MIN_SPEECH)


def trim_silence(samples: np.ndarray) -> list[np.ndarray]:
    """What is said, without the silence around it, in pieces of up to half a minute: one of most recordings, more of a
    longer one, which is cut where it is quietest, and none of silence."""
    level = np.convolve(levels(samples), np.ones(PAUSE) / PAUSE, "same")
    pieces, stop = [], 0
    left = np.flatnonzero([] if is_silent(samples) else spoken(samples))
    while len(left):
        start, stop = max(stop, left[0] - MARGIN), left[-1] + 1 + MARGIN
        if stop - start > WINDOW:
            late = start + WINDOW * 2 // 3
            stop = late + level[late : start + WINDOW].argmin()
        pieces.append(samples[start * FRAME : stop * FRAME])
        left = left[left >= stop]
    return pieces


class Recogniser(Protocol):
    """Writes down what is said."""

    name: str

    def transcribe(self, samples: np.ndarray) -> str:
        """The words in a sound [samples]; "" if there are none."""


class WhisperRecogniser:
    """A Whisper model in ggml's format, through whisper.cpp in this process. It is told that English is spoken.

    Raises:
        InputError: the file is not there, or not a model that whisper.cpp can read.
    """

    def __init__(self, path: str | Path, threads: int = 0):
        from pywhispercpp.model import Model

        check_whisper(path)
        self.name = f"whisper.cpp with {Path(path).name}"
        threads = threads or threads_for(path)
        with _whisper_log() as log:
            self._model = Model(str(path), language="en", print_progress=False, n_threads=threads)
        if any("failed to load model" in line for line in log):  # nothing else tells, and to use it ends the process
            raise InputError(f"whisper.cpp cannot read {path} ({log[-2].strip()}); {HOW_TO_GET}")

    def transcribe(self, samples: np.ndarray) -> str:
        """The words in a sound [samples]. Silence is not given to Whisper, which makes up words for it."""
        texts = []
        for piece in trim_silence(samples):
            at_least_a_second = np.pad(piece, (0, max(0, RATE - len(piece))))
            with _whisper_log():
                texts += [segment.text for segment in self._model.transcribe(at_least_a_second)]
        return clean(" ".join(texts))


@contextmanager
def _whisper_log() -> Iterator[list[str]]:
    """What whisper.cpp reports, which it would print. A process has one log, and a model serves one caller at a time:
    others wait. The log is given back, as whisper.cpp still writes to it when Python is no longer there."""
    from _pywhispercpp import whisper_log_set

    log: list[str] = []
    with _WHISPER:
        whisper_log_set(lambda level, text: log.append(text))
        try:
            yield log
        finally:
            whisper_log_set(None)


class RecordedTranscript:
    """Hands back a text that was written down beforehand, whatever it hears."""

    def __init__(self, text: str):
        self.text, self.name = text, "a recorded transcript (nothing was recognised)"

    def transcribe(self, samples: np.ndarray) -> str:
        """The text that was given."""
        return self.text


def clean(text: str) -> str:
    """The words of a transcript on one line, without Whisper's marks for other sounds or control characters."""
    text = MARKS.sub(" ", text)
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


def listen(source: str | Path | np.ndarray, recogniser: Recogniser) -> str:
    """The request that is spoken in a file or in a sound [samples].

    Raises:
        InputError: the sound cannot be used, nothing was said, no word was recognised, or too many were.
    """
    is_sound = isinstance(source, np.ndarray)
    where = "the sound" if is_sound else str(source)
    samples = check_samples(source, where) if is_sound else read_audio(source)
    if is_silent(samples):
        raise InputError(f"nothing was said in {where}; speak closer to the microphone, or give another recording")
    request = clean(recogniser.transcribe(samples))
    if not request:
        raise InputError(f"no word was recognised in {where} by {recogniser.name}; say it again, or type the request")
    check_request(request)
    return request
