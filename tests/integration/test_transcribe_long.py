"""`sca transcribe` on recordings of several windows: the same lines, progress inside a recording, resuming inside it."""

import inspect
import json

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

import sca
from sca.audio.decode import read_audio
from sca.cli.main import app
from sca.cli.transcribe import transcribe as transcribe_command
from sca.config import Settings
from sca.data.runs.progress import NullProgress
from sca.data.transcription import whisper as whisper_module
from sca.data.transcription.transcribe import transcribe
from sca.data.transcription.whisper import Recognizer, RecognizerOptions
from sca.data.transcription.windows import partial_dir
from sca.errors import ConfigError
from tests.helpers.tiny_whisper import scripted_whisper


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    return str(scripted_whisper(tmp_path_factory.getbasetemp()))


@pytest.fixture
def recording(trial_data, tmp_path):
    """Return a recording of about 90 s, of which no stretch is longer than 30 s."""
    clip = read_audio(trial_data / "clips" / "jfk.flac", 16_000)
    path = tmp_path / "in" / "long.wav"
    path.parent.mkdir()
    soundfile.write(path, np.concatenate([clip, np.zeros(12_345, np.float32)] * 8), 16_000)
    return path


class Watch(NullProgress):
    """Collects the progress, and interrupts the run after some windows."""

    def __init__(self, interrupt_after=None):
        self.seen, self.audio_s, self.interrupt_after = [], 0.0, interrupt_after

    def on_start(self, total, todo, audio_s):
        self.audio_s = audio_s

    def on_progress(self, progress):
        self.seen.append((progress.item, round(progress.done, 2), round(progress.total, 2)))
        if len(self.seen) == self.interrupt_after:
            raise KeyboardInterrupt


def lines_of(model, recording, save_file, watch, *, vad=True):
    options = RecognizerOptions(model, device="cpu", language="en", batch_size=1, vad=vad)
    summary = transcribe([recording], save_file, options, reactions="none", listener=watch)
    assert not summary.failed
    return save_file.read_bytes()


def test_windows_give_the_line_of_the_whole(model, recording, tmp_path, monkeypatch):
    whole, parts = Watch(), Watch()
    expected = lines_of(model, recording, tmp_path / "whole.jsonl", whole)
    monkeypatch.setattr(whisper_module, "_LEAST_STRETCHES", 1)
    assert lines_of(model, recording, tmp_path / "parts.jsonl", parts) == expected
    assert len(whole.seen) == 1
    assert len(parts.seen) >= 3
    assert [done for _, done, _ in parts.seen] == sorted({done for _, done, _ in parts.seen})
    length_s = round(soundfile.info(recording).duration, 2)
    assert {(item, total) for item, _, total in parts.seen} == {("long", length_s)}
    assert parts.audio_s == pytest.approx(length_s, abs=0.01)
    assert len(json.loads(expected)["words"]) >= 20


@pytest.mark.parametrize("vad", [True, False])
def test_interrupted_recording_continues_with_its_next_window(model, recording, tmp_path, monkeypatch, vad):
    monkeypatch.setattr(whisper_module, "_LEAST_STRETCHES", 1)
    monkeypatch.setattr("sca.data.transcription.windows._SEQUENCE_SAMPLES", 30 * 16_000)
    monkeypatch.setattr("sca.data.transcription.windows._LEAST_SAMPLES", 20 * 16_000)
    expected = lines_of(model, recording, tmp_path / "whole.jsonl", Watch(), vad=vad)
    save_file = tmp_path / "out.jsonl"
    with pytest.raises(KeyboardInterrupt):
        lines_of(model, recording, save_file, Watch(interrupt_after=2), vad=vad)
    (kept,) = partial_dir(save_file).iterdir()
    assert len(kept.read_bytes().splitlines()) == 2
    decoded = []
    words_of = Recognizer._words_of

    def counted(self, segments, base_s=0.0):
        decoded.append(base_s)
        return words_of(self, segments, base_s)

    monkeypatch.setattr(Recognizer, "_words_of", counted)
    assert lines_of(model, recording, save_file, Watch(), vad=vad) == expected
    assert min(decoded) > 15  # the first two windows were not decoded again
    assert not partial_dir(save_file).exists()


def test_windows_of_other_settings_are_deleted(model, recording, tmp_path, monkeypatch):
    monkeypatch.setattr(whisper_module, "_LEAST_STRETCHES", 1)
    save_file = tmp_path / "out.jsonl"
    with pytest.raises(KeyboardInterrupt):
        lines_of(model, recording, save_file, Watch(interrupt_after=1))
    lines_of(model, recording, save_file, Watch(), vad=False)
    assert not partial_dir(save_file).exists()


def test_verify_hears_the_recordings_again(model, recording, tmp_path):
    save_file = tmp_path / "out.jsonl"
    line = json.loads(lines_of(model, recording, save_file, Watch()))
    command = ["verify", str(save_file), "--json", "-q"]
    heard = [*command, "--audio-dir", str(recording.parent)]
    done = CliRunner().invoke(app, heard)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["heard"] == 1
    # Somebody removes an event with its words and its speech, so that the line agrees with itself.
    removed = next(event for event in line["timeline"] if event["end"] - event["start"] > 1)
    low, high = removed["start"], removed["end"]
    line["timeline"].remove(removed)
    line["words"] = [word for word in line["words"] if not low <= word["start"] < high]
    line["speech"] = [
        part
        for start, end in line["speech"]
        for part in ((start, min(end, low)), (max(start, high), end))
        if part[1] > part[0]
    ]
    save_file.write_text(json.dumps(line) + "\n")
    assert CliRunner().invoke(app, command).exit_code == 0
    done = CliRunner().invoke(app, heard)
    assert done.exit_code == 5
    problems = json.loads(done.stdout)["problems"]
    assert any("has no text" in problem for problem in problems)
    # A recording with other content proves nothing about the line.
    sound, rate = soundfile.read(recording)
    soundfile.write(recording, sound * 0.5, rate)
    done = CliRunner().invoke(app, heard)
    assert (done.exit_code, json.loads(done.stdout)["heard"]) == (0, 0)
    assert CliRunner().invoke(app, [*command, "--audio-dir", str(tmp_path / "none")]).exit_code == 5


def test_the_function_has_what_the_command_has(model, recording, tmp_path, monkeypatch):
    command = set(inspect.signature(transcribe_command).parameters) - {"settings", "json", "quiet"}
    renamed = {"transcribe_reactions": "reactions", "transcribe_captions": "captions"}
    function = set(inspect.signature(sca.transcribe).parameters)
    plain = {name for name in command if "." not in name and not hasattr(Settings(), name.split("_", 1)[0])}
    assert {renamed.get(name, name) for name in plain} <= function
    seen = []
    real = Recognizer.__init__
    monkeypatch.setattr(
        Recognizer, "__init__", lambda self, options, **kw: (seen.append(options), real(self, options, **kw))[1]
    )
    summary = sca.transcribe(
        recording,
        tmp_path / "out.jsonl",
        model=model,
        device="cpu",
        language="English",
        beam_size=2,
        hotwords="Fritz",
        multilingual=True,
        reactions="none",
        output_format=["srt,txt", "json"],
        output_dir=tmp_path / "texts",
        settings={"quality.min_snr_db": 100},
    )
    assert (seen[0].beam_size, seen[0].hotwords, seen[0].multilingual) == (2, "Fritz", True)
    assert summary.details.text_files == 3
    assert [reason.item for reason in summary.dropped] == ["long"]
    with pytest.raises(ConfigError):
        sca.transcribe(recording, tmp_path / "o.jsonl", settings={"quality.min_snr": 1})
