"""`sca live` between files: length, timing, reproducibility, memory use, and invalid arguments."""

import json
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sca.audio.pcm import INT16_MAX, pcm16_bytes
from sca.config import load_settings
from sca.errors import ConfigError, InputError, OutputError, ScaError, UsageError
from sca.infer.engines.parrot import ParrotEngine
from sca.infer.frames import AudioOutput
from sca.infer.interfaces import BaseListener
from sca.infer.runners.file import OutputFiles, run_file
from sca.resources import demo_corpus
from tests.helpers.command import sca
from tests.helpers.engine_contract import demo_speech
from tests.helpers.timeouts import TIMEOUT_S, until
from tests.helpers.tone_engine import Tone, raise_error

SETTINGS = load_settings(env={})


@pytest.fixture(scope="module")
def parrot():
    return ParrotEngine()


@pytest.fixture(scope="module")
def demo():
    with demo_corpus() as folder:
        yield folder / "WAV" / "D0001_S0001_0_G0001.flac"


def settings(**live):
    return load_settings(overrides={f"live.{name}": value for name, value in live.items()}, env={})


def run(heard, folder, engine, settings=SETTINGS, **options):
    outputs = OutputFiles(folder / "out.wav", folder / "text.tsv", folder / "record", folder / "timing.json")
    return run_file(heard, outputs, engine, settings, **options), outputs


def everything(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_command_writes_all_outputs(demo, tmp_path):
    done = sca("live", "--file", demo, "--out", tmp_path / "out.wav", "--json", "--transcript", tmp_path / "text.tsv",
               "--record", tmp_path / "rec", "--timing", tmp_path / "timing.json", "--set", "live.record_text=true")  # fmt: skip
    assert (done.returncode, done.stderr.splitlines()[0]) == (0, "parrot: repeats your turn when it ends; no model")
    document = json.loads(done.stdout)
    heard, said = soundfile.info(demo), soundfile.info(tmp_path / "out.wav")
    assert (said.samplerate, said.channels, said.subtype) == (24_000, 1, "PCM_16")
    assert said.frames == (3 * round(heard.frames * 16_000 / heard.samplerate) + 1) // 2 == document["said_samples_24k"]
    assert json.loads((tmp_path / "timing.json").read_text())["turns"] == document["turns"]
    first = document["turns"][0]
    start, text = (tmp_path / "text.tsv").read_text().splitlines()[0].split("\t")
    assert float(start) == first["start_s"]
    assert text.startswith("(says back ")
    events = [json.loads(line) for line in (tmp_path / "rec" / "events.jsonl").read_text().splitlines()]
    assert events[0] | {"samples": 7680} == events[0]
    assert events[0]["text"].startswith("(says back ")
    assert "interrupt" in {event["event"] for event in events}


def test_plain_output(demo, tmp_path):
    done = sca("run-live", "--file", demo, "--out", tmp_path / "out.wav", "-q")
    assert (done.returncode, done.stderr) == (0, "")
    assert "heard 60.67 s, spoke" in done.stdout
    assert "mouth to ear: p50 20 ms, p95 20 ms, p99 20 ms" in done.stdout
    assert done.stdout.splitlines()[-1] == str(tmp_path / "out.wav")


def test_two_runs_give_the_same_bytes(demo, tmp_path, parrot):
    for name in "ab":
        run(demo, tmp_path / name, parrot)
    one, other = everything(tmp_path / "a"), everything(tmp_path / "b")
    assert one == other
    assert len(one) == 6


def test_answer_is_placed_at_its_time(demo, tmp_path, parrot):
    document, outputs = run(demo, tmp_path, parrot, settings(step_cost_ms=100.0, playout_delay_ms=60))
    said, _ = soundfile.read(outputs.output, dtype="int16")
    assert len(document["turns"]) > 2
    silent = np.ones(len(said), bool)
    for turn in document["turns"]:
        # The end of the chunk, 100 ms in the engine, a play-out delay of 60 ms.
        assert turn["start"] == (turn["answers_chunk"] + 1) * 7680 + 160 * 24
        silent[turn["start"] : turn["end"]] = False
    assert not said[silent].any()
    assert said[~silent].any()


def test_recording_contains_both_tracks(demo, tmp_path, parrot):
    _, outputs = run(demo, tmp_path, parrot)
    assert (outputs.record / "said.wav").read_bytes() == outputs.output.read_bytes()
    heard, rate = soundfile.read(outputs.record / "heard.wav", dtype="float32")
    original = demo_speech(seconds=99)
    assert (rate, len(heard)) == (16_000, len(original))
    np.testing.assert_allclose(heard, original, atol=1 / 32767)
    assert "text" not in (outputs.record / "events.jsonl").read_text()


def test_real_time_gives_the_same_answer_later(tmp_path, parrot):
    # Two seconds of a turn and its silence: the answer starts. A machine that stalls drops nothing.
    patient = settings(lag_policy="wait", hang_s=120)
    sound = np.concatenate([demo_speech(seconds=5)[8000 : 8000 + 2 * 16_000], np.zeros(4 * 16_000, np.float32)])
    soundfile.write(tmp_path / "in.wav", sound, 16_000)
    fast, _ = run(tmp_path / "in.wav", tmp_path / "a", parrot, patient)
    slow, _ = run(tmp_path / "in.wav", tmp_path / "b", parrot, patient, realtime=True)
    assert slow["stepped"] + slow["dropped"] == fast["stepped"]
    assert slow["said_samples_24k"] == fast["said_samples_24k"]
    assert [t["answers_chunk"] for t in slow["turns"]] == [t["answers_chunk"] for t in fast["turns"]] != []
    longest_s = slow["latency_ms"]["max"] / 1000  # mouth to ear on this machine
    for one, other in zip(slow["turns"], fast["turns"], strict=True):
        assert abs(one["start_s"] - other["start_s"]) < longest_s + 0.25


def test_recording_of_a_session_that_was_ended_is_complete(demo, tmp_path):
    record = tmp_path / "rec"
    command = [sys.executable, "-m", "sca", "live", "--file", demo, "--out", tmp_path / "out.wav", "--realtime", "-q"]
    with subprocess.Popen([*command, "--record", record], stderr=subprocess.PIPE, text=True) as process:
        until(lambda: (record / "events.jsonl").is_file() and (record / "events.jsonl").stat().st_size)
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == -signal.SIGTERM
    assert stderr.splitlines()[-1] == f"sca: interrupted; {tmp_path / 'out.wav'} is not written"
    assert not (tmp_path / "out.wav").exists()
    assert sorted(path.name for path in record.iterdir()) == ["events.jsonl", "heard.wav", "said.wav"]
    heard, said = (soundfile.info(record / name) for name in ("heard.wav", "said.wav"))
    assert heard.frames > 0
    assert said.frames == (3 * heard.frames + 1) // 2
    assert json.loads((record / "events.jsonl").read_text().splitlines()[0])["event"]


@pytest.mark.parametrize(
    ("rate", "channels", "suffix"), [(44_100, 2, ".flac"), (8_000, 1, ".wav"), (48_000, 6, ".ogg")]
)
def test_any_rate_and_channels(tmp_path, rate, channels, suffix):
    frames = rate * 2 + 37
    sound = np.random.default_rng(0).uniform(-0.3, 0.3, (frames, channels))
    heard = tmp_path / f"in{suffix}"
    soundfile.write(heard, sound, rate)
    document, outputs = run(heard, tmp_path, Tone())
    n = (2 * frames * 16_000 + rate) // (2 * rate)
    assert document["heard_samples"] == n
    assert soundfile.info(outputs.output).frames == (3 * n + 1) // 2


@pytest.mark.parametrize("frames", [1, 2, 3, 5119, 5120, 5121])
def test_input_shorter_than_a_chunk_and_odd_lengths(tmp_path, frames):
    soundfile.write(tmp_path / "in.wav", np.full(frames, 0.1), 16_000)
    document, outputs = run(tmp_path / "in.wav", tmp_path, Tone())
    assert document["stepped"] == -(-frames // 5120)
    assert soundfile.info(outputs.output).frames == (3 * frames + 1) // 2


def test_silence_is_answered_with_silence(tmp_path, parrot):
    soundfile.write(tmp_path / "in.wav", np.zeros(16_000 * 5), 16_000)
    document, outputs = run(tmp_path / "in.wav", tmp_path, parrot)
    assert document["turns"] == []
    assert not soundfile.read(outputs.output)[0].any()


def test_non_finite_and_clipped_samples_are_counted(tmp_path):
    sound = np.full(16_000, 0.1, np.float32)
    sound[10:13] = np.nan
    sound[100:107] = 4
    soundfile.write(tmp_path / "in.wav", sound, 16_000, subtype="FLOAT")
    document, _ = run(tmp_path / "in.wav", tmp_path, Tone())
    assert (document["non_finite"], document["clipped"]) == (3, 7)
    done = sca("live", "--file", tmp_path / "in.wav", "--out", tmp_path / "o.wav", "-q")
    assert "in the input: 3 samples without a number (replaced by 0), 7 clipped" in done.stdout


def test_overload_is_exact_in_simulated_time(tmp_path):
    soundfile.write(tmp_path / "in.wav", np.full(16_000 * 64, 0.1), 16_000)
    document, _ = run(tmp_path / "in.wav", tmp_path, Tone(turn_chunks=1), settings(step_cost_ms=500.0))
    # A step takes 500 ms per 320 ms of input, so 36 % of the chunks cannot be stepped.
    assert document["stepped"] + document["dropped"] == 200
    assert document["stepped"] == pytest.approx(200 * 320 / 500, abs=4)
    assert document["lags"] > document["dropped"] / 5
    assert document["latency_ms"]["max"] < 2000


# Invalid arguments


@pytest.mark.parametrize(
    ("heard", "out", "error", "message"),
    [
        ("missing.wav", "o.wav", InputError, "missing.wav does not exist"),
        ("folder.wav", "o.wav", InputError, "is a folder"),
        ("in.wav", "folder.wav", OutputError, "cannot create .*: the name is already in use"),
        ("in.wav", "file/o.wav", OutputError, "cannot create .*: the name is already in use"),
        ("in.wav", "o.mp3", UsageError, r"does not end in \.wav"),
        ("in.wav", "in.wav", UsageError, "is given twice; it would be overwritten"),
        ("link.wav", "in.wav", UsageError, "is given twice; it would be overwritten"),
    ],
)
def test_rejects_invalid_inputs_and_outputs(tmp_path, heard, out, error, message):
    soundfile.write(tmp_path / "in.wav", np.zeros(100), 16_000)
    before = (tmp_path / "in.wav").read_bytes()
    (tmp_path / "file").write_text("no sound")
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "link.wav").symlink_to(tmp_path / "in.wav")
    with pytest.raises(error, match=message):
        run_file(tmp_path / heard, OutputFiles(tmp_path / out), Tone(), SETTINGS)
    assert (tmp_path / "in.wav").read_bytes() == before


def test_rejects_contradicting_arguments(demo, tmp_path):
    for args, code, message in (
        ([], 2, "sca: --file or --output is missing"),
        (["--file", demo, "--engine", "parot"], 2, "sca: --engine: engine parot does not exist"),
        (["--file", tmp_path / "no.wav"], 5, f"sca: {tmp_path / 'no.wav'} does not exist"),
    ):
        done = sca("live", "--out", tmp_path / "o.wav", *args)
        assert (done.returncode, done.stdout, done.stderr.splitlines()[0]) == (code, "", message)


def test_rejects_contradicting_thresholds():
    for given in ({"vad_offset": "0.9"}, {"vad_onset": "0.2"}):
        with pytest.raises(ConfigError, match=r"live.vad_offset should not be above live.vad_onset"):
            settings(**given)


def test_rejects_a_file_given_twice(tmp_path):
    heard = tmp_path / "in.wav"
    with pytest.raises(UsageError, match="given twice"):
        OutputFiles(tmp_path / "o.wav", timing=tmp_path / "o.wav").check(heard)
    with pytest.raises(UsageError, match="given twice"):
        OutputFiles(tmp_path / "r" / "said.wav", record=tmp_path / "r").check(heard)


def test_engine_error_keeps_the_recording_only(demo, tmp_path):
    with pytest.raises(ScaError, match="the weights melted"):
        run(demo, tmp_path, Tone({20: raise_error}))
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == [
        "events.jsonl", "heard.wav", "said.wav", "text.tsv",
    ]  # fmt: skip
    assert soundfile.info(tmp_path / "record" / "heard.wav").duration == pytest.approx(21 * 0.32)
    last = (tmp_path / "record" / "events.jsonl").read_text().splitlines()[-1]
    assert json.loads(last)["message"] == "the engine tone failed in chunk 20: RuntimeError: the weights melted"


def test_unwritable_folder(demo, tmp_path, monkeypatch):
    def refuse(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(OutputError, match="no permission to write"):
        run_file(demo, OutputFiles(tmp_path / "x" / "o.wav"), Tone(), SETTINGS)


def test_truncated_input_leaves_no_output(tmp_path):
    soundfile.write(tmp_path / "whole.flac", np.random.default_rng(0).uniform(-0.5, 0.5, 16_000 * 10), 16_000)
    whole = (tmp_path / "whole.flac").read_bytes()
    (tmp_path / "in.flac").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"in\.flac"):
        run_file(tmp_path / "in.flac", OutputFiles(tmp_path / "o.wav"), Tone(), SETTINGS)
    assert not (tmp_path / "o.wav").exists()


# Long input


def test_memory_is_bounded_for_twenty_minutes(tmp_path):
    with soundfile.SoundFile(tmp_path / "in.wav", "w", 16_000, 1, "PCM_16") as file:
        for _ in range(20):
            file.write(np.full(16_000 * 60, 1000, np.int16))
    meter = MemoryMeter()
    tracemalloc.start()
    document, outputs = run(tmp_path / "in.wav", tmp_path, ConstantTone(), listeners=[meter])
    tracemalloc.stop()
    assert document["heard_samples"] == 20 * 60 * 16_000
    assert soundfile.info(outputs.output).frames == 20 * 60 * 24_000
    assert soundfile.info(outputs.record / "heard.wav").frames == 20 * 60 * 16_000
    assert document["latency_ms"]["p99"] == document["latency_ms"]["p50"] == 20
    early, late = np.mean(meter.bytes[4:8]), np.mean(meter.bytes[-4:])
    assert late - early < 1e6 / 4  # a quarter of an hour
    # The turns kept for timing.json are bounded; everything else is constant.


class MemoryMeter(BaseListener):
    """Records the allocated memory once per minute of audio."""

    def __init__(self):
        self.bytes = []

    def on_input(self, samples, chunk_index):
        if chunk_index % 187 == 0:
            self.bytes.append(tracemalloc.get_traced_memory()[0])


class ConstantTone(Tone):
    """Keeps no record of its steps, and always returns the same audio."""

    def __init__(self):
        super().__init__(dict.fromkeys(range(99_999), self.same), uses_features=False)
        self.steps = NullList()
        self.pcm = pcm16_bytes(np.full(7680, 0.1, np.float32), INT16_MAX)

    def open(self, session_config):
        session = super().open(session_config)
        session.seen = NullList()
        return session

    def same(self, session, heard):
        session.turn_id = heard.chunk_index // 20
        return [AudioOutput(self.pcm, 24_000, "", heard.chunk_index, session.turn_id)]


class NullList:
    def append(self, value):
        pass


def test_turn_model_decides_the_end_of_turns(tmp_path):
    """Turn ends by silence and by the model: both reproducible, with different decisions."""
    soundfile.write(tmp_path / "in.wav", demo_speech(speaker=2, seconds=20), 16_000)

    def run(name, *options):
        out = tmp_path / f"{name}.wav"
        done = sca("live", "-q", "--file", tmp_path / "in.wav", "--out", out, *options)
        assert done.returncode == 0, done.stderr
        return out.read_bytes()

    model = run("model", "--turn-model", "auto")
    assert run("again", "--turn-model", "auto") == model
    assert run("silence") != model


@pytest.mark.parametrize(
    ("seconds", "quiet", "reason"),
    [(2.0, 0.0, "nobody finished a turn"), (0.0, 2.0, "no speech was found"), (2.0, 5.0, None)],
)
def test_output_without_speech_has_its_reason(seconds, quiet, reason, tmp_path):
    heard = tmp_path / "heard.wav"
    speech = demo_speech(seconds=24)[16_000 * 16 :][: int(16_000 * seconds)]
    soundfile.write(heard, np.concatenate([speech, np.zeros(int(16_000 * quiet), np.float32)]), 16_000)
    done = sca("live", "--file", heard, "--out", tmp_path / "out.wav", "-q", "--json")
    document = json.loads(done.stdout)
    assert done.returncode == 0
    assert (document["silent_because"] is None) is (reason is None) is bool(document["turns"])
    assert reason is None or reason in document["silent_because"]
