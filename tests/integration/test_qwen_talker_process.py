"""The talker in a second process: equal audio, one clear error if it dies, no process left behind."""

import contextlib
import gc
import multiprocessing
import os
import signal
import sys
import time

import numpy as np
import psutil
import pytest
import soundfile
import torch
from typer.testing import CliRunner

from sca.cli.main import app, run
from sca.config import DuplexConfig, QwenConfig
from sca.errors import ConfigError, ScaError
from sca.infer.engine import BatchEngine, SessionConfig
from sca.infer.engines.qwen_omni.streaming import voice_process
from sca.infer.engines.qwen_omni.streaming.engine import QwenOmni
from sca.infer.engines.qwen_omni.streaming.two_process import TwoProcessOmni
from sca.infer.frames import AudioInput, ErrorFrame
from sca.train.tiny import build
from tests.helpers.engine_contract import comparable, demo_speech, inputs_of
from tests.helpers.omni import OmniContract, broken_vocoder, qwen_tokenizer, sound_of
from tests.helpers.processes import Forked

BRIEF = SessionConfig(prompt="Be brief.")


@pytest.fixture(scope="module")
def model():
    torch.set_num_threads(1)  # more threads are slower on a busy machine
    return build(books=3, vocoder_width=16)  # a chunk takes less than half the time


@pytest.fixture(scope="module")
def tokenizer():
    return qwen_tokenizer()


@pytest.fixture(scope="module")
def engine(model, tokenizer):
    """With a queue of one: a full queue blocks the caller."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(voice_process, "_QUEUE_SIZE", 1)
        engine = TwoProcessOmni(model, tokenizer, QwenConfig(model_id="tiny", talker_process=True), DuplexConfig())
    yield engine
    engine.voices.close()


@pytest.fixture(scope="module")
def plain(model, tokenizer):
    return QwenOmni(model, tokenizer, QwenConfig(model_id="tiny"), DuplexConfig())


@pytest.fixture(scope="module")
def heard():
    return list(inputs_of(demo_speech(seconds=2), features=True))


class TestContract(OmniContract):
    """The contract of all engines, over two processes."""

    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls, engine):
        return engine


def test_equals_one_process_with_interrupt_and_reset(engine, plain, heard):
    one, other = engine.open(BRIEF), plain.open(BRIEF)
    for chunk in heard[:4]:
        if chunk.chunk_index == 2:
            one.interrupt(3)
            other.interrupt(3)
        assert comparable(one.step(chunk)) == comparable(other.step(chunk))
    assert one.held_bytes == other.held_bytes
    one.reset()
    other.reset()
    assert comparable(one.step(heard[0])) == comparable(other.step(heard[0]))
    one.close()
    one.close()


def test_many_sessions_with_a_queue_of_one(engine, plain, heard):
    """Invalid input does not affect other sessions."""
    assert isinstance(engine, BatchEngine)
    sessions = [engine.open(SessionConfig(prompt=prompt)) for prompt in ("", "a", "b")]
    wrong = AudioInput(heard[0].features, heard[0].samples[:9], 0, 0)
    results = engine.step_batch(sessions, [heard[0], wrong, heard[1]])
    assert [type(result) for result in results] == [list, ValueError, list]
    for result, prompt, chunk in ((results[0], "", heard[0]), (results[2], "b", heard[1])):
        assert comparable(result) == comparable(plain.open(SessionConfig(prompt=prompt)).step(chunk))
    for session in sessions:
        session.close()


def test_discards_cancelled_results(engine, plain, heard):
    session = engine.open(BRIEF)
    with torch.inference_mode():
        for chunk in heard[:2]:
            session.voice.submit(*session.think(chunk))
    session.interrupt(1)  # two chunks of audio are pending
    session.reset()
    assert comparable(session.step(heard[0])) == comparable(plain.open(BRIEF).step(heard[0]))
    session.close()
    engine.open(BRIEF).close()  # results arrive in order, so all cancelled ones have arrived
    assert engine.voices._results == {}


def test_raises_errors_of_the_process(engine):
    session = engine.open(BRIEF)
    with pytest.raises(ScaError, match="the talker failed: RuntimeError: "):
        session.voice.speak([1], torch.zeros(1, 1, 7))
    session.reset()


def test_nan_of_the_process_is_reported(engine, heard):
    session = engine.open(BRIEF)
    session.step(heard[0])
    with broken_vocoder(engine.model):
        broken = session.step(heard[1])
    wave, count = sound_of(broken)
    assert count > 0
    assert not wave.any()
    assert ["without a number" in frame.message for frame in broken if isinstance(frame, ErrorFrame)] == [True]
    wave, count = sound_of(session.step(heard[2]))
    assert wave.any()
    assert count == 0
    session.close()


def test_rejects_slots(model, tokenizer):
    with pytest.raises(ConfigError, match="cannot be combined"):
        TwoProcessOmni(model, tokenizer, QwenConfig(model_id="tiny", talker_process=True, slots=2), DuplexConfig())


def test_death_of_the_process_is_one_clear_error(engine, heard):
    """Runs last, because the other tests need the process."""
    one, other = engine.open(BRIEF), engine.open(BRIEF)
    one.step(heard[0])
    os.kill(engine.voices.process.pid, signal.SIGKILL)
    with pytest.raises(ScaError) as died:
        one.step(heard[1])
    assert died.value.message == "the talker process died (exit code -9)"
    assert "qwen.talker_process=false" in died.value.hint
    results = engine.step_batch([other], [heard[0]])
    assert [type(result) for result in results] == [ScaError]
    with pytest.raises(ScaError, match="died"):
        engine.open(BRIEF)
    for session in (one, other):
        session.close()


# The command


TWO = ("--set", "qwen.talker_process=true")


def words_for(tiny_omni, heard, out, *options):
    """The words of `sca live` on a file."""
    command = ["live", "--file", heard, "--out", out, "--engine", "qwen-omni"]
    settings = [f"qwen.model_id={tiny_omni}", "qwen.device_map=cpu", "qwen.torch_dtype=float32"]
    return [str(word) for word in (*command, *(w for value in settings for w in ("--set", value)), *options)]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("heard") / "in.wav"
    soundfile.write(path, demo_speech(seconds=30)[:16_000], 16_000)
    return path


def test_command_with_two_processes_writes_equal_bytes(tiny_omni, clip, tmp_path, monkeypatch):
    """In this process, which has imported torch and transformers already; only the talker has to."""
    monkeypatch.setattr(voice_process, "_CLOSE_S", 120)  # so that it ends without a signal on a busy machine
    before, codes, end = set(multiprocessing.active_children()), [], voice_process._end

    def ended(process, *more):
        end(process, *more)
        codes.append(process.exitcode)

    monkeypatch.setattr(voice_process, "_end", ended)
    for options in ((), TWO):
        done = CliRunner().invoke(app, words_for(tiny_omni, clip, tmp_path / f"{len(options)}.wav", *options))
        assert done.exit_code == 0, done.output
    one, two = ((tmp_path / name).read_bytes() for name in ("0.wav", "2.wav"))
    assert one == two
    assert soundfile.info(tmp_path / "2.wav").frames == 24_000
    del done  # the exception that ended the command references its frames, and those the engine
    gc.collect()
    assert set(multiprocessing.active_children()) <= before, "the talker has ended"
    assert codes == [0], "it ended because of the request"


def talking(output, *words):
    """Start a command in its own process group, as a terminal does."""

    def command():
        sys.argv = ["sca", *words]
        run()

    return Forked(command, output)


def people_of(command):
    """The child processes of a command that still run."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if os.getsid(process.pid) == command.pid and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return [process for process in found if process.pid != command.pid]


def has_talker(command):
    for process in people_of(command):
        with contextlib.suppress(psutil.Error):
            if "spawn_main" in " ".join(process.cmdline()):
                return True
    return False


def wait_for(what, seconds=240):
    until = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < until
        time.sleep(0.05)
    return found


@pytest.mark.timeout(600)
def test_ended_command_leaves_no_process_behind(tiny_omni, tmp_path):
    """Ctrl-C goes to every process of the terminal, here before the talker process has started; SIGTERM only to the command."""
    heard = tmp_path / "in.wav"
    soundfile.write(heard, np.zeros(3600 * 1600, np.int16), 1600)  # an hour, so that the command does not end by itself
    (tmp_path / "said").mkdir()
    interrupted, killed = (
        talking(tmp_path / f"{index}.log", *words_for(tiny_omni, heard, tmp_path / name, *TWO))
        for index, name in enumerate(("out.wav", "said/out.wav"))
    )
    for command in (interrupted, killed):
        wait_for(lambda command=command: has_talker(command))
        if command is interrupted:
            os.killpg(command.pid, signal.SIGINT)
    wait_for(lambda: list((tmp_path / "said").iterdir()))  # the output has begun
    os.kill(killed.pid, signal.SIGTERM)
    for command, code in ((interrupted, 130), (killed, -signal.SIGTERM)):
        assert command.wait(240) == code, command.output.read_text()
        assert "Traceback" not in command.output.read_text()
        wait_for(lambda command=command: not people_of(command))
