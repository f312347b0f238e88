"""Voice: sound is read as it is, silence is not recognised, and whisper.cpp runs, quietly, on what it can run on."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tinyagent_helpers.artifacts import DATA, InputError
from tinyagent_helpers.sanity import MAX_REQUEST, check_request
from tinyagent_helpers.voice import (
    MAX_SECONDS,
    RATE,
    RecordedTranscript,
    WhisperRecogniser,
    check_samples,
    clean,
    is_silent,
    listen,
    read_audio,
    record,
    trim_silence,
)
from tinyagent_helpers.whisper_file import WORDS, check_whisper, random_whisper

VOICE = DATA / "voice"
RECORDINGS = json.loads((VOICE / "recordings.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return random_whisper(tmp_path_factory.mktemp("whisper") / "random.bin")


@pytest.fixture(scope="module")
def recogniser(model):
    return WhisperRecogniser(model)


@pytest.fixture(scope="module")
def speech():
    return read_audio(VOICE / RECORDINGS[0]["file"])


def tone(hertz, rate, seconds=1.0):
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)


def noise(seconds, level):
    return (np.random.default_rng(0).standard_normal(int(seconds * RATE)) * 10 ** (level / 20)).astype(np.float32)


def pitch(samples):
    """The strongest frequency, in hertz."""
    return np.abs(np.fft.rfft(samples)).argmax() * RATE / len(samples)


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000, 96_000])
@pytest.mark.parametrize(
    "name, kind",
    [("a.wav", "PCM_16"), ("a.wav", "PCM_24"), ("a.wav", "PCM_U8"), ("a.wav", "FLOAT"), ("a.flac", "PCM_24")],
)
def test_a_tone_keeps_its_pitch_its_length_and_its_loudness(tmp_path, rate, name, kind):
    soundfile.write(tmp_path / name, tone(440, rate), rate, subtype=kind)
    samples = read_audio(tmp_path / name)
    assert samples.dtype == np.float32 and len(samples) == RATE
    assert pitch(samples) == pytest.approx(440, abs=1)
    assert np.abs(samples[500:-500]).max() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("name", ["a.ogg", "a.mp3"])
def test_compressed_sound_is_read(tmp_path, name):
    soundfile.write(tmp_path / name, tone(440, 44_100), 44_100)
    samples = read_audio(str(tmp_path / name))
    assert pitch(samples) == pytest.approx(440, abs=2) and len(samples) == pytest.approx(RATE, abs=2_500)


def test_what_16_khz_cannot_hold_is_filtered_out(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(15_000, 44_100), 44_100)
    assert np.abs(read_audio(tmp_path / "a.wav")[500:-500]).max() < 0.01


def test_channels_are_mixed(tmp_path):
    left, right = tone(300, 48_000), tone(500, 48_000)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), 48_000)
    spectrum = np.abs(np.fft.rfft(read_audio(tmp_path / "a.wav")))
    assert set(np.argsort(spectrum)[-2:]) == {300, 500}
    assert spectrum[300] == pytest.approx(spectrum[500], rel=0.02)
    soundfile.write(tmp_path / "b.wav", np.stack([left, -left], axis=1), 48_000)
    assert np.abs(read_audio(tmp_path / "b.wav")).max() < 1e-3


def test_loud_float_sound_is_cut_to_full_scale(tmp_path):
    soundfile.write(tmp_path / "a.wav", 6 * tone(440, 44_100), 44_100, subtype="FLOAT")
    assert np.abs(read_audio(tmp_path / "a.wav")).max() == 1


def test_what_is_no_sound_is_refused_with_the_reason(tmp_path):
    path = tmp_path / "a.wav"
    with pytest.raises(InputError, match="there is no recording .*a.wav"):
        read_audio(path)
    with pytest.raises(InputError, match="there is no recording"):
        read_audio(tmp_path)
    soundfile.write(path, tone(440, RATE), RATE)
    cut_off = path.read_bytes()[:20]
    for content in (
        b"",
        b"Text Lutfi that I am late\n" * 90,
        b"\x89PNG\r\n\x1a\n" + bytes(3_000),
        cut_off,
        bytes(9_999),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match="a.wav cannot be read as sound .*save it as WAV"):
            read_audio(path)
    path = path.rename(tmp_path / "a.raw")
    with pytest.raises(InputError, match="a.raw cannot be read as sound"):
        read_audio(path)


def test_sound_that_cannot_be_used_is_refused(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros(0), RATE)
    with pytest.raises(InputError, match="a.wav is 0.0 s long"):
        read_audio(path)
    soundfile.write(path, np.where(tone(440, RATE) > 0.4, np.nan, 0), RATE, subtype="FLOAT")
    with pytest.raises(InputError, match="a.wav has samples that are not finite"):
        read_audio(path)
    soundfile.write(path, np.zeros((MAX_SECONDS + 1) * 4_000, np.int16), 4_000)
    with pytest.raises(InputError, match="a.wav is 301.0 s long; give .* at most 300 s"):
        read_audio(path)
    soundfile.write(path, tone(440, RATE), 3)
    with pytest.raises(InputError, match="claims 3 samples a second"):
        read_audio(path)
    with pytest.raises(InputError, match="the sound has the shape .2, 9.; give one row"):
        listen(np.zeros((2, 9)), RecordedTranscript("Text Sid"))


def test_a_recording_cut_off_in_its_sound_is_read_as_far_as_it_goes(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(440, RATE), RATE)
    path.write_bytes(path.read_bytes()[: 44 + RATE])
    assert len(read_audio(path)) == RATE // 2


@pytest.mark.parametrize("level", [-120, -70, -50, -40, -35])
def test_hiss_is_silence(level):
    assert is_silent(noise(3, level)) and trim_silence(noise(3, level)) == []
    with pytest.raises(InputError, match="nothing was said in the sound"):
        listen(noise(3, level), RecordedTranscript("Text Sid"))


@pytest.mark.parametrize("silent", [np.zeros(RATE), np.zeros(1), np.eye(1, RATE, 5_000)[0]])
def test_nothing_and_a_click_are_silence(silent):
    with pytest.raises(InputError, match="nothing was said"):
        listen(silent, RecordedTranscript("Text Sid"))


@pytest.mark.parametrize("gain, level", [(1, -120), (0.05, -120), (1, -45), (0.3, -50)])
def test_speech_is_found_in_quiet_and_in_hiss_and_what_is_around_it_is_cut(speech, gain, level):
    quiet = np.zeros(4 * RATE, np.float32)
    samples = np.concatenate([quiet, gain * speech, quiet])
    (piece,) = trim_silence(check_samples(samples + noise(len(samples) / RATE, level), "it"))
    assert len(speech) - 0.6 * RATE < len(piece) < len(speech) + 0.4 * RATE


def test_a_long_recording_is_cut_where_nobody_speaks(speech):
    pause = np.zeros(RATE // 2, np.float32)
    once = np.concatenate([speech, pause])
    samples = np.concatenate([*[once] * 12, np.zeros(60 * RATE, np.float32), once])
    pieces = trim_silence(samples)
    assert all(len(piece) <= 30 * RATE for piece in pieces)
    assert 3 <= len(pieces) <= 4 and sum(map(len, pieces)) < len(samples) - 25 * RATE
    for piece in pieces[:-1]:
        assert np.abs(piece[-100:]).max() < 0.01
    loud = sum(np.square(piece.astype(float)).sum() for piece in pieces)
    assert loud == pytest.approx(np.square(samples.astype(float)).sum(), rel=1e-4)  # no word is lost


def test_the_shipped_recordings_are_what_their_list_says():
    files = {path.name for path in VOICE.iterdir()} - {"recordings.json"}
    assert files == {recording["file"] for recording in RECORDINGS} and len(RECORDINGS) == 4
    assert sum(path.stat().st_size for path in VOICE.iterdir()) < 1_000_000
    for recording in RECORDINGS:
        path, text = VOICE / recording["file"], recording["text"]
        info = soundfile.info(path)
        assert (info.samplerate, info.channels, info.subtype) == (22_050, 1, "PCM_16") and 3 <= info.duration <= 5
        check_request(text)
        assert f'-w {path.stem}.wav "{text}"' in recording["command"] and "1.51" in recording["version"]
        assert listen(path, RecordedTranscript(text)) == text


@pytest.mark.skipif(not shutil.which("espeak-ng"), reason="espeak-ng, which made the recordings, is not here")
@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda recording: recording["file"])
def test_the_shipped_recordings_can_be_made_again(tmp_path, recording):
    there = subprocess.run(["espeak-ng", "--version"], capture_output=True, text=True).stdout
    if recording["version"].split()[-1] not in there:
        pytest.skip("another version of espeak-ng")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(recording["command"], shell=True, cwd=tmp_path, check=True, env={**os.environ, "PATH": path})
    again, shipped = read_audio(tmp_path / recording["file"]), read_audio(VOICE / recording["file"])
    assert len(again) == len(shipped) and np.abs(again - shipped).max() < 0.01


def test_whisper_writes_clean_text_and_prints_nothing(recogniser, capfd):
    for recording in RECORDINGS:
        text = listen(VOICE / recording["file"], recogniser)
        assert 5 <= len(text.split()) <= 20 and text.isprintable() and text == clean(text)
        assert listen(VOICE / recording["file"], recogniser) == text
    assert recogniser.name == "whisper.cpp with random.bin"
    assert capfd.readouterr() == ("", "")


def test_whisper_hears_all_of_a_minute_and_even_a_short_word(recogniser, speech, capfd):
    minute = np.resize(speech, 60 * RATE)
    assert len(recogniser.transcribe(minute).split()) > 2 * len(recogniser.transcribe(speech).split()) - 3
    assert recogniser.transcribe(speech[8_000:11_000])
    assert recogniser.transcribe(noise(3, -40)) == recogniser.transcribe(np.zeros(0, np.float32)) == ""
    assert capfd.readouterr() == ("", "")


def test_several_threads_can_share_a_recogniser(recogniser, speech):
    alone, texts = recogniser.transcribe(speech), []
    threads = [threading.Thread(target=lambda: texts.append(recogniser.transcribe(speech))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == [alone] * 4


def test_whisper_is_quiet_until_the_process_ends(model):
    code = f"""if True:
        from tinyagent_helpers.voice import WhisperRecogniser, read_audio
        recogniser = WhisperRecogniser({str(model)!r})
        recogniser.transcribe(read_audio({str(VOICE / RECORDINGS[0]["file"])!r}))"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_random_model_is_the_same_for_the_same_seed_and_small(tmp_path, model):
    assert random_whisper(tmp_path / "again.bin").read_bytes() == model.read_bytes()
    assert random_whisper(tmp_path / "other.bin", seed=1).read_bytes() != model.read_bytes()
    assert model.stat().st_size < 15e6 and [path.name for path in model.parent.iterdir()] == ["random.bin"]
    with pytest.raises(InputError, match="cannot write"):
        random_whisper(tmp_path / "nowhere" / "a.bin")


def test_a_broken_model_is_refused_and_the_process_lives(tmp_path, model, capfd):
    path = tmp_path / "broken.bin"
    with pytest.raises(InputError, match="there is no speech model .*broken.bin; get ggml-base.en.bin"):
        WhisperRecogniser(path)
    whole = model.read_bytes()
    name = b"decoder.ln.bias"
    broken = {
        "begin": [b"GGUF" + whole[4:], b"<html>not found</html>"],
        "cut off": [whole + bytes(4), *(whole[:size] for size in (4, 7, 60, 300_000, 1_000_000, len(whole) - 1))],
        "no sense": [whole[:8] + b"\xff\xff\xff\xff" + whole[12:], whole[:4] + bytes(44) + whole[48:]],
        "cannot read": [whole.replace(name, name[:-4] + b"bogu")],
    }  # fmt: skip
    for reason, contents in broken.items():
        for content in contents:
            path.write_bytes(content)
            with pytest.raises(InputError, match=f"{reason}.*get ggml-base.en.bin"):
                WhisperRecogniser(path)
    assert capfd.readouterr() == ("", "")


def test_the_check_of_a_model_ends_whatever_the_bytes_are(tmp_path, model):
    whole, random = bytearray(model.read_bytes()[:2_000_000]), np.random.default_rng(0)
    for _ in range(20):
        for place in random.integers(0, 64_300 + WORDS * 11, 50):
            whole[place] = random.integers(256)
        (tmp_path / "a.bin").write_bytes(whole)
        with pytest.raises(InputError):
            check_whisper(tmp_path / "a.bin")


def test_a_recorded_transcript_says_what_it_is(speech):
    recorded = RecordedTranscript("Text Sid")
    assert recorded.transcribe(speech) == "Text Sid" and "nothing was recognised" in recorded.name


def test_marks_and_control_characters_are_no_part_of_a_request(speech):
    heard = " [BLANK_AUDIO] Text Sid\x00 that\n (wind blowing) I'm *coughs* 5\u00a0minutes late \u202e♪ \ufffd[Music]"
    assert clean(heard) == "Text Sid that I'm 5 minutes late"
    assert listen(speech, RecordedTranscript(heard)) == clean(heard)


def test_no_words_and_too_many_are_no_request(speech):
    with pytest.raises(InputError, match="no word was recognised in the sound by a recorded transcript"):
        listen(speech, RecordedTranscript("[BLANK_AUDIO] (silence)"))
    with pytest.raises(InputError, match="characters; at most"):
        listen(speech, RecordedTranscript("a " * MAX_REQUEST))


def test_recording_without_what_it_needs_says_what_to_do():
    with pytest.raises(InputError, match="the recording asked for is -1.0 s long"):
        record(-1)
    with pytest.raises(InputError, match="at most 300 s"):
        record(1e9)
    if importlib.util.find_spec("sounddevice") is None:
        with pytest.raises(InputError, match="pip install sounddevice"):
            record(0.1)
