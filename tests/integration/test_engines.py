"""Every engine against the contract; the registry; what the parrot does with real speech."""

import importlib.metadata
import subprocess
import sys

import numpy as np
import pytest

from sca import plugins
from sca.audio.resample import resample
from sca.config import LiveConfig, load_settings
from sca.errors import MissingToolError, UsageError
from sca.infer.engine import SessionConfig
from sca.infer.engines import registry
from sca.infer.engines.parrot import ParrotEngine
from sca.infer.engines.turn_taking import SilenceTurnDetector
from sca.infer.frames import AudioOutput, Interrupt, TurnEnd
from sca.units import HEARD_HZ, SPOKEN_HZ
from tests.helpers.engine_contract import GRID, EngineContract, demo_speech, inputs_of
from tests.helpers.tone_engine import Tone

SETTINGS = load_settings(env={})


class TestParrot(EngineContract):
    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls):
        return registry.load_engine("parrot", SETTINGS)


class TestTone(EngineContract):
    """The engine of our own tests keeps the contract too, or they would prove nothing."""

    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls):
        return Tone()


# The registry


def test_names_and_an_unknown_one():
    assert "parrot" in registry.engine_names()
    with pytest.raises(UsageError) as refused:
        registry.load_engine("parot", SETTINGS)
    assert refused.value.message == "engine parot does not exist"
    assert "did you mean parrot?" in refused.value.hint
    assert ", ".join(registry.engine_names()) in refused.value.hint


@pytest.fixture
def third_party(monkeypatch):
    def install(target, name="theirs"):
        point = importlib.metadata.EntryPoint(name, target, "sca.engines")
        monkeypatch.setattr(plugins, "entry_points", lambda group: (point,) if group == "sca.engines" else ())

    return install


def test_a_package_brings_its_own(third_party):
    third_party("tests.integration.test_engines:their_engine")
    assert registry.engine_names() == ["parrot", "qwen-omni", "theirs", "vllm-omni"]
    assert registry.load_engine("theirs", SETTINGS).info.name == "tone"


def their_engine(settings):
    assert settings is SETTINGS
    return Tone()


def test_ours_cannot_be_taken_over(third_party):
    third_party("tests.integration.test_engines:their_engine", name="parrot")
    assert isinstance(registry.load_engine("parrot", SETTINGS), ParrotEngine)


@pytest.mark.parametrize(
    ("target", "error", "says"),
    [
        ("no_such_package:load", MissingToolError, "cannot be imported"),
        ("tests.integration.test_engines:no_such_name", UsageError, "does not exist"),
        ("builtins:repr", UsageError, "it returned a str"),
    ],
)
def test_a_package_that_brings_rubbish(third_party, target, error, says):
    third_party(target)
    with pytest.raises(error, match=says):
        registry.load_engine("theirs", SETTINGS)


def test_asking_for_names_loads_no_engine():
    code = "import sys; from sca.infer.engines.registry import engine_names; engine_names(); sys.exit('onnxruntime' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# The parrot


@pytest.fixture(scope="module")
def parrot():
    return ParrotEngine()


def talk(engine, sound):
    session = engine.open(SessionConfig(grid=GRID))
    return [list(session.step(one)) for one in inputs_of(sound, features=False)]


def sound_of(steps):
    """Turn id → int16 samples said in it."""
    said: dict = {}
    for f in (f for frames in steps for f in frames if isinstance(f, AudioOutput)):
        said.setdefault(f.turn_id, []).append(np.frombuffer(f.audio_bytes, "<i2"))
    return {turn: np.concatenate(pieces) for turn, pieces in said.items()}


@pytest.fixture(scope="module")
def one_turn():
    """The demo's first turn, which ends near 4.4 s, then ten seconds of silence."""
    return np.concatenate([demo_speech(seconds=5), np.zeros(10 * HEARD_HZ, np.float32)])


def test_it_says_back_what_it_heard_in_full(parrot, one_turn):
    steps = talk(parrot, one_turn)
    (said,) = sound_of(steps).values()
    ends = [f for frames in steps for f in frames if isinstance(f, TurnEnd | Interrupt)]
    assert [(type(f), f.turn_id) for f in ends] == [(TurnEnd, 0)]
    expected = resample(one_turn, HEARD_HZ, SPOKEN_HZ)
    said = said / 32767
    spectrum = np.fft.irfft(np.fft.rfft(expected, len(expected) * 2) * np.fft.rfft(said, len(expected) * 2).conj())
    at = int(np.argmax(spectrum))
    there = expected[at : at + len(said)]
    n = len(there) - 2 * GRID.spoken_samples  # the end is filled up, and resampled from a piece cut off
    assert np.corrcoef(there[:n], said[:n])[0, 1] > 0.999
    # All of the turn: nothing louder than a whisper lies before or behind.
    assert np.abs(expected[:at]).max() < 0.05
    assert np.abs(expected[at + len(said) :]).max() < 0.05


def test_it_answers_when_the_silence_is_long_enough(parrot, one_turn):
    def first_answer(engine):
        return next(
            i for i, frames in enumerate(talk(engine, one_turn)) if any(isinstance(f, AudioOutput) for f in frames)
        )

    patient = ParrotEngine(LiveConfig(end_of_turn_ms=640 + 5 * 320))
    assert first_answer(patient) == first_answer(parrot) + 5


def test_one_chunk_of_answer_a_step_without_a_gap(parrot, one_turn):
    lengths = [sum(f.num_samples for f in frames if isinstance(f, AudioOutput)) for frames in talk(parrot, one_turn)]
    speaking = np.flatnonzero(lengths)
    assert len(speaking) > 5
    assert np.array_equal(speaking, np.arange(speaking[0], speaking[-1] + 1))
    assert {lengths[i] for i in speaking} == {GRID.spoken_samples}


@pytest.mark.parametrize("delay", [0, 1000, 2560, 4000])
def test_it_stops_within_a_chunk_when_spoken_over(parrot, one_turn, delay):
    answer_at = next(i for i, fs in enumerate(talk(parrot, one_turn)) if fs)
    sound = one_turn.copy()
    # From the first sample of the speech on, spoken over while it answers.
    speech = demo_speech(seconds=5)[16 * 512 :][: 3 * HEARD_HZ]
    begin = (answer_at + 3) * GRID.heard_samples + delay
    sound[begin : begin + len(speech)] = speech
    steps = talk(parrot, sound)
    (cut_at,) = [i for i, fs in enumerate(steps) for f in fs if isinstance(f, Interrupt) and f.turn_id == 0]
    assert cut_at * GRID.heard_samples - begin <= GRID.heard_samples  # the step after the one in which it began
    assert all(f.turn_id > 0 for fs in steps[cut_at:] for f in fs if isinstance(f, AudioOutput))
    assert 1 in sound_of(steps)  # and what was said over it is said back in turn


def test_a_long_turn_is_kept_to_its_last_seconds(one_turn):
    steps = talk(ParrotEngine(LiveConfig(max_turn_s=1.0)), one_turn)
    (said,) = sound_of(steps).values()
    assert SPOKEN_HZ <= len(said) < SPOKEN_HZ + GRID.spoken_samples


@pytest.mark.parametrize("sound", ["silence", "clicks", "hum"])
def test_what_is_no_speech_is_not_answered(parrot, sound):
    n = 20 * HEARD_HZ
    made = {
        "silence": np.zeros(n, np.float32),
        "clicks": (np.arange(n) % 8000 == 0).astype(np.float32),
        "hum": (0.3 * np.sin(np.arange(n) * 2 * np.pi * 50 / HEARD_HZ)).astype(np.float32),
    }[sound]
    assert not any(talk(parrot, made))


def test_real_speech(parrot, trial_data):
    from sca.audio.decode import read_audio

    sound = np.concatenate(
        [read_audio(trial_data / "clips" / "jfk.flac", HEARD_HZ), np.zeros(8 * HEARD_HZ, np.float32)]
    )
    steps = talk(parrot, sound)
    kinds = [(type(f), f.turn_id) for frames in steps for f in frames if isinstance(f, TurnEnd | Interrupt)]
    # Two pauses long enough to be taken for the end of the turn, and he goes on; the third is the end.
    assert kinds == [(Interrupt, 0), (Interrupt, 1), (TurnEnd, 2)]


# When a turn ends: probabilities in, turns out


def turns(probabilities, **settings):
    detector = SilenceTurnDetector(LiveConfig(**settings))
    return [(i, turn) for i, p in enumerate(probabilities) if (turn := detector.push(p)) is not None]


def test_a_turn_is_speech_then_enough_silence():
    assert turns([0.0] * 3 + [0.9] * 10 + [0.0] * 30) == [(3 + 10 + 20 - 1, (3, 13))]


def test_a_short_pause_does_not_end_it():
    assert turns([0.9] * 10 + [0.0] * 19 + [0.9] * 3 + [0.0] * 20) == [(51, (0, 32))]


def test_a_blip_is_no_turn():
    assert turns(([0.9] * 4 + [0.0] * 30) * 3) == []


def test_between_the_thresholds_speech_goes_on_and_does_not_begin():
    assert turns([0.4] * 20 + [0.0] * 40) == []
    assert turns([0.9] + [0.4] * 9 + [0.0] * 20) == [(29, (0, 10))]
