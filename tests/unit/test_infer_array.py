"""Sessions over arrays: `run_engine`, and the examples in the docstrings of the public names."""

import re

import numpy as np
import pytest
import soundfile

import sca
from sca.audio.decode import read_audio
from sca.config import load_settings
from sca.errors import ScaError
from sca.infer.clock import LoopClock
from sca.infer.interfaces import BaseListener
from sca.infer.runners.array import ArraySink, ArraySource
from sca.infer.runners.file import OutputFiles, run_file
from tests.helpers.engine_contract import demo_speech
from tests.helpers.tone_engine import Tone, raise_error

SETTINGS = load_settings(env={})


def examples(name):
    return re.findall(r"```python\n(.*?)```", sca.__dict__.get(name, getattr(sca, name)).__doc__, re.DOTALL)


@pytest.mark.parametrize("name", ["Engine", "LiveSession", "load_engine", "run_engine"])
def test_docstring_example_runs(name):
    (example,) = examples(name)
    indent = re.match(r" *", example).group()
    exec(compile(re.sub(f"^{indent}", "", example, flags=re.MULTILINE), name, "exec"), {})


def test_output_is_the_answer_at_its_time():
    delay = int((SETTINGS.live.step_cost_ms + SETTINGS.live.playout_delay_ms) * 24)
    run = sca.run_engine(Tone(turn_chunks=2), np.zeros(20_480, np.float32), SETTINGS)
    assert run.output.dtype == np.float32
    assert run.output.shape == (30_720,)
    assert [(turn.turn_id, turn.start, turn.end - turn.start) for turn in run.turns] == [
        (0, 7680 + delay, 2 * 7680),  # the answer to the first chunk
        (1, 3 * 7680 + delay, 7680 - delay),  # ends with the input
    ]
    assert not run.output[: 7680 + delay].any()
    assert np.ptp(run.output[7680 + delay : 2 * 7680 + delay]) == 0
    assert run.output[7680 + delay] == pytest.approx(1 / 128, abs=1e-4)
    assert run.text.startswith("0 1 2")
    assert run.stats.stepped == 4


def test_two_runs_are_equal():
    engine, speech = sca.load_engine("parrot", SETTINGS), demo_speech(seconds=10)
    first, second = sca.run_engine(engine, speech, SETTINGS), sca.run_engine(engine, speech, SETTINGS)
    assert np.abs(first.output).max() > 0.1
    assert np.array_equal(first.output, second.output)
    assert first.turns == second.turns
    assert first.turns
    assert "(says back" in first.text


def test_output_equals_that_of_a_file(tmp_path):
    engine, speech = sca.load_engine("parrot", SETTINGS), demo_speech(seconds=8)
    soundfile.write(tmp_path / "in.wav", speech, 16_000, subtype="FLOAT")
    report = run_file(tmp_path / "in.wav", OutputFiles(tmp_path / "out.wav"), engine, SETTINGS)
    run = sca.run_engine(engine, speech, SETTINGS)
    assert np.array_equal(run.output, read_audio(tmp_path / "out.wav"))
    assert [(turn["start"], turn["end"]) for turn in report["turns"]] == [(turn.start, turn.end) for turn in run.turns]


def test_listeners_receive_the_events():
    class Chunks(BaseListener):
        def __init__(self):
            self.indices = []

        def on_input(self, samples, chunk_index):
            self.indices.append((chunk_index, len(samples)))

    chunks = Chunks()
    sca.run_engine(Tone(), np.zeros(6000, np.float32), SETTINGS, listeners=[chunks])
    assert chunks.indices == [(0, 5120), (1, 880)]


@pytest.mark.parametrize("samples", [np.zeros(5120), np.zeros((2, 5120), np.float32), np.zeros(5120, np.int16)])
def test_rejects_other_dtypes_and_shapes(samples):
    with pytest.raises(ValueError, match=r"expected float32 \(n,\)"):
        sca.run_engine(Tone(), samples, SETTINGS)


def test_an_engine_error_is_raised():
    with pytest.raises(ScaError, match="the engine tone failed in chunk 1"):
        sca.run_engine(Tone({1: raise_error}), np.zeros(16_000, np.float32), SETTINGS)


def test_session_creates_its_own_clock_and_worker():
    async def main():
        clock = LoopClock()
        source, sink = ArraySource(np.zeros(2 * 5120, np.float32), clock), ArraySink(clock)
        return await sca.LiveSession(Tone(), source, sink).run(), sink.samples

    import anyio

    stats, samples = anyio.run(main)  # in real time
    assert stats.stepped == 2
    assert samples.shape == (2 * 7680,)
