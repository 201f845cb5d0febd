"""The slots of Qwen3-Omni with graphs: all captured before the first session, and the same results with any of them failing."""

import dataclasses

import numpy as np
import pytest
import torch

from sca.config import DuplexConfig, QwenConfig
from sca.errors import ScaError
from sca.infer.engine import SessionConfig
from sca.infer.engines.qwen_omni.slots.cuda_graphs import experts_for
from sca.infer.engines.qwen_omni.slots.engine import SlotOmni
from sca.infer.engines.qwen_omni.streaming.engine import QwenOmni
from sca.infer.engines.qwen_omni.streaming.voice import VoicePhase
from sca.infer.frames import AudioInput
from sca.train.tiny import build
from sca.units import Grid
from tests.helpers.engine_contract import comparable, demo_speech, inputs_of
from tests.helpers.fake_graphs import FakeGraphs
from tests.helpers.omni import qwen_tokenizer

GRID = Grid()
BRIEF = SessionConfig(prompt="Be brief.")
SMALL = {"context_tokens": 1200, "talker_context_frames": 64}


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def model():
    """In float64, as in the tests of slots."""
    torch.set_num_threads(1)
    model = build(books=2).double()
    model.set_experts_implementation("eager")
    return model


@pytest.fixture(scope="module")
def heard():
    return list(inputs_of(demo_speech(seconds=2), features=True))[:5]


def engine_of(model, graphs=None, slots=3, **qwen):
    return SlotOmni(model, qwen_tokenizer(), QwenConfig(model_id="tiny", slots=slots, **qwen), DuplexConfig(), graphs)


@pytest.fixture(scope="module")
def alone(model, heard):
    """The frames of a separate session."""
    with torch.inference_mode():
        session = QwenOmni(model, qwen_tokenizer(), QwenConfig(model_id="tiny", **SMALL), DuplexConfig()).open(BRIEF)
        return [comparable(session.step(one)) for one in heard]


def steps_of(engine, heard):
    """The frames of three sessions: the second joins at chunk 1, the third at chunk 3; the second ends at chunk 4."""
    sessions, frames = {}, {0: [], 1: [], 2: []}
    for round_ in range(5):
        for who, begin in ((0, 0), (1, 1), (2, 3)):
            if round_ == begin:
                sessions[who] = engine.open(BRIEF)
        if round_ == 4:
            sessions.pop(1).close()
        inputs = [heard[len(frames[who])] for who in sessions]
        for who, step in zip(sessions, engine.step_batch(list(sessions.values()), inputs), strict=True):
            thought = dataclasses.replace(step[0], hidden_states=step[0].hidden_states.cpu())
            frames[who].append(comparable([thought, *step[1:]]))
    return frames


@pytest.mark.parametrize("failing", [(), (2, 3, 7)])
def test_graphs_equal_a_separate_session(model, heard, alone, caplog, failing):
    graphs = FakeGraphs(failing=failing)
    engine = engine_of(model, graphs, **SMALL)
    engine.prepare(GRID)
    keys = set(engine.runner.keys)
    assert len(keys) == graphs.captures == 3 * (2 + 1)
    assert len(engine.runner.captured) == len(keys) - len(failing)
    for who, frames in steps_of(engine, heard).items():
        assert frames == alone[: len(frames)], f"session {who}"
    assert graphs.captures == len(keys), "none in a conversation"
    assert graphs.replays == 10 or failing
    progress = [one.getMessage() for one in caplog.records if "capturing" in one.getMessage()]
    assert progress[0].startswith("capturing CUDA graphs, 1 of 9 (thinker, 3 slots, 1200 cells)")
    notices = [one.getMessage() for one in caplog.records if "could not be captured" in one.getMessage()]
    assert len(notices) == bool(failing)
    for notice in notices:
        assert notice.startswith(f"{len(failing)} of 9 CUDA graphs could not be captured and run without a graph")
        assert notice.endswith("(CUDA error: operation not permitted when stream is capturing)")


def test_graphs_contain_the_end_of_a_segment(model):
    options = SMALL | {"voice": "per-segment", "max_turn_s": 0.32, "turn_pause_s": 1.28}
    graphs = FakeGraphs()
    slot = engine_of(model, graphs, slots=1, **options).open(BRIEF)
    captured = graphs.captures
    session = QwenOmni(model, qwen_tokenizer(), QwenConfig(model_id="tiny", **options), DuplexConfig()).open(BRIEF)
    phases = set()
    for one in list(inputs_of(demo_speech(seconds=3), features=True))[:8]:
        assert comparable(slot.step(one)) == comparable(session.step(one))
        phases.add(session.voice._phase)
    assert phases >= {VoicePhase.SPEAKING, VoicePhase.ENDING}
    assert graphs.captures == captured, "none in a conversation"


@pytest.mark.parametrize(("broken", "stage"), [(1, "thinker"), (8, "talker")])
def test_stage_that_does_not_run_is_named(model, broken, stage):
    engine = engine_of(model, FakeGraphs(broken=broken), **SMALL)
    with pytest.raises(
        ScaError, match=f"the stage of the {stage} does not run with . slots and .*: CUDA error: no kernel"
    ):
        engine.prepare(GRID)


class _NoModel:
    """Stands for the device in a long talk: answers at random, with silence and words, and no arithmetic."""

    def __init__(self, keys):
        self.keys, self.used, self.draw = keys, set(), np.random.default_rng(0)

    def think(self, key, inputs):
        self.used.add(key)
        talk = self.draw.random(key.slots) < 0.6
        words = np.where(talk[:, None], [9707, 11, 2], [151_646, 151_646, 1])
        self.answer, self.wave = words, None
        return torch.zeros(key.slots, 2, 1)

    def speak(self, key, numbers, noise):
        self.used.add(key)
        self.wave = np.zeros((key.slots, GRID.spoken_samples), np.float32)

    def read(self):
        return self.answer, self.wave


def test_talk_of_half_an_hour_needs_no_other_graph(model, monkeypatch):
    """Eight sessions begin one after the other; all of them fill their caches at the default settings."""
    engine = engine_of(model, FakeGraphs(), slots=8)
    for name in ("_thinker_inputs", "_talker_inputs"):
        monkeypatch.setattr(engine, name, lambda *_: (None, None))
    slots = "sca.infer.engines.qwen_omni.slots"
    monkeypatch.setattr(f"{slots}.stage_runner.StageRunner.capture", lambda *_: None)
    monkeypatch.setattr(f"{slots}.decoder.SlotCache.apply", lambda *_: None)
    for name in ("features", "frames"):
        monkeypatch.setattr(f"{slots}.session.SlotSession.{name}", lambda *_: [])
    engine.prepare(GRID)
    engine.runner = device = _NoModel(engine.runner.keys)
    features, samples = np.zeros((1, 128, 32), np.float32), np.zeros(GRID.heard_samples, np.float32)
    sessions = []
    for i in range(int(30 * 60 / float(GRID.chunk_s))):
        if i % 125 == 0 and len(sessions) < 8:
            sessions.append(engine.open(BRIEF))
        inputs = [AudioInput(features, samples, i - 125 * who, 0) for who in range(len(sessions))]
        failed = [one for one in engine.step_batch(sessions, inputs) if isinstance(one, Exception)]
        assert not failed
    assert {key.cells for key in device.used if key.stage == "thinker"} == {1024, 2048, 4096, 8192, 16_384}
    assert device.used <= set(device.keys)
    assert len(set(device.keys)) == 24


@pytest.mark.gpu
def test_cuda_graphs_equal_eager_execution(heard):
    """Both engines run the same shapes; one of them without CUDA."""
    on_gpu = build().to("cuda")
    engine, eager = engine_of(on_gpu, **SMALL), engine_of(on_gpu, FakeGraphs(), **SMALL)
    frames, expected = steps_of(engine, heard), steps_of(eager, heard)
    assert engine.runner.captured == set(engine.runner.keys)
    assert {key.stage for key in engine.runner.captured} == {"thinker", "talker"}
    assert engine.runner.waits == eager.runner.waits == 6
    assert frames == expected


@pytest.mark.gpu
def test_chunk_with_graphs_waits_only_where_it_reads(heard):
    engine = engine_of(build().to("cuda"), slots=1, **SMALL)
    session = engine.open(BRIEF)
    torch.cuda.set_sync_debug_mode("error")  # for a wait inside of a copy or an operation
    try:
        for one in heard:
            session.step(one)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert engine.runner.waits == len(heard) + 1


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_kernel_of_the_experts_is_captured(heard, dtype):
    engine = engine_of(build().to("cuda", dtype), slots=1, **SMALL)
    engine.prepare(GRID)
    assert engine.runner.captured == set(engine.runner.keys)
    kernel = experts_for(dtype, torch.cuda.get_device_capability())
    assert engine.model.thinker.config.text_config._experts_implementation == kernel
    assert engine.model.talker.config.text_config._experts_implementation == kernel
    assert engine.open(BRIEF).step(heard[0])
