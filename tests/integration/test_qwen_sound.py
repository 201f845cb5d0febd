"""A voice of Qwen3-Omni that computes NaN: silence with a notice and a count, and the next chunk has sound again."""

import pytest
import torch

from sca.cli.live.summary import session_lines
from sca.config import DuplexConfig, QwenConfig
from sca.infer.engine import SessionConfig
from sca.infer.engines.qwen_omni.slots.engine import SlotOmni
from sca.infer.engines.qwen_omni.streaming.engine import QwenOmni
from sca.infer.frames import ErrorFrame
from sca.infer.runners.array import run_engine
from sca.train.tiny import build
from tests.helpers.engine_contract import comparable, demo_speech, inputs_of
from tests.helpers.omni import broken_vocoder, qwen_tokenizer, sound_of

BRIEF = SessionConfig(prompt="Be brief.")


@pytest.fixture(scope="module")
def model():
    torch.set_num_threads(1)  # more threads are slower on a busy machine
    return build(books=4)


@pytest.fixture(scope="module")
def heard():
    return list(inputs_of(demo_speech(seconds=2), features=True))


def engine_of(model, kind=QwenOmni, **qwen):
    return kind(model, qwen_tokenizer(), QwenConfig(model_id="tiny", **qwen), DuplexConfig())


@pytest.mark.parametrize(
    ("kind", "qwen"),
    [(QwenOmni, {}), (SlotOmni, {"slots": 2})],
    ids=["alone", "slots"],
)
def test_nan_is_reported_once_and_the_voice_recovers(model, heard, kind, qwen):
    session = engine_of(model, kind, **qwen).open(BRIEF)
    steps = [session.step(heard[0])]
    with broken_vocoder(model):
        steps += [session.step(one) for one in heard[1:3]]
    steps += [session.step(one) for one in heard[3:5]]
    waves, broken = zip(*map(sound_of, steps), strict=True)
    assert [bool(count) for count in broken] == [False, True, True, False, False]
    assert [bool(wave.any()) for wave in waves] == [True, False, False, True, True]
    errors = [[frame for frame in frames if isinstance(frame, ErrorFrame)] for frames in steps]
    assert [len(some) for some in errors] == [0, 1, 0, 0, 0], "once per turn"
    assert not errors[1][0].fatal
    assert errors[1][0].message.startswith(f"the talker or the vocoder computed {broken[1]} samples without a number")


def test_nan_stays_in_its_slot_and_leaves_it(model, heard):
    engine = engine_of(model, SlotOmni, slots=2)
    expected = [comparable(frames) for frames in map(engine.open(BRIEF).step, heard[:3])]
    engine = engine_of(model, SlotOmni, slots=2)
    one, other = engine.open(BRIEF), engine.open(BRIEF)
    voice = engine.chunk
    with torch.inference_mode():
        for tensor in (*voice.talker.cache.keys, *voice.talker.cache.values, *voice.vocoder.state):
            tensor[one.slot].fill_(float("nan"))
    both = [engine.step_batch([one, other], [chunk, chunk]) for chunk in heard[:3]]
    assert sound_of(both[0][0])[1] == 7680
    assert sound_of(both[1][0])[1] == 0
    assert [comparable(frames) for _, frames in both] == expected
    one.close()
    assert [comparable(frames) for frames in map(engine.open(BRIEF).step, heard[:3])] == expected


def test_count_reaches_the_result_of_a_session(model):
    with broken_vocoder(model):
        run = run_engine(engine_of(model), demo_speech(seconds=1))
    document = {**run.stats.summary(), "heard_s": 1.0}
    assert document["said_non_finite"] > 0
    assert f"in the output: {document['said_non_finite']} samples without a number, played as silence" in session_lines(
        document, 1, 0
    )
