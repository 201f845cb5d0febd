"""The engine contract, the registry, and the parrot with real speech."""

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
    """The engine of the tests keeps the contract as well."""

    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls):
        return Tone()


# The registry


def test_unknown_name_lists_the_available():
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


def test_loads_an_engine_of_a_package(third_party):
    third_party("tests.integration.test_engines:their_engine")
    assert registry.engine_names() == ["cascade", "parrot", "qwen-omni", "theirs", "vllm-omni"]
    assert registry.load_engine("theirs", SETTINGS).info.name == "tone"


def their_engine(settings):
    assert settings is SETTINGS
    return Tone()


def test_engine_is_told_how_many_sessions_there_may_be(third_party):
    third_party("tests.integration.test_engines:counting_engine")
    assert registry.load_engine("theirs", SETTINGS).sessions == 1
    assert registry.load_engine("theirs", SETTINGS, 7).sessions == 7


def counting_engine(settings, sessions):
    engine = their_engine(settings)
    engine.sessions = sessions
    return engine


def test_builtin_engines_take_precedence(third_party):
    third_party("tests.integration.test_engines:their_engine", name="parrot")
    assert isinstance(registry.load_engine("parrot", SETTINGS), ParrotEngine)


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        ("no_such_package:load", MissingToolError, "cannot be imported"),
        ("tests.integration.test_engines:no_such_name", UsageError, "does not exist"),
        ("builtins:repr", UsageError, "it returned a str"),
    ],
)
def test_rejects_invalid_plugins(third_party, target, error, message):
    third_party(target)
    with pytest.raises(error, match=message):
        registry.load_engine("theirs", SETTINGS)


def test_listing_names_imports_no_engine():
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
    """Return the int16 output of each turn id."""
    said: dict = {}
    for f in (f for frames in steps for f in frames if isinstance(f, AudioOutput)):
        said.setdefault(f.turn_id, []).append(np.frombuffer(f.audio_bytes, "<i2"))
    return {turn: np.concatenate(pieces) for turn, pieces in said.items()}


@pytest.fixture(scope="module")
def one_turn():
    """Return the first turn of the demo, which ends near 4.4 s, and ten seconds of silence."""
    return np.concatenate([demo_speech(seconds=5), np.zeros(10 * HEARD_HZ, np.float32)])


def test_repeats_the_whole_turn(parrot, one_turn):
    steps = talk(parrot, one_turn)
    (said,) = sound_of(steps).values()
    ends = [f for frames in steps for f in frames if isinstance(f, TurnEnd | Interrupt)]
    assert [(type(f), f.turn_id) for f in ends] == [(TurnEnd, 0)]
    expected = resample(one_turn, HEARD_HZ, SPOKEN_HZ)
    said = said / 32767
    spectrum = np.fft.irfft(np.fft.rfft(expected, len(expected) * 2) * np.fft.rfft(said, len(expected) * 2).conj())
    at = int(np.argmax(spectrum))
    there = expected[at : at + len(said)]
    n = len(there) - 2 * GRID.spoken_samples  # the end is padded, and resampled from a truncated piece
    assert np.corrcoef(there[:n], said[:n])[0, 1] > 0.999
    # The whole turn: the audio before and after it is almost silent.
    assert np.abs(expected[:at]).max() < 0.05
    assert np.abs(expected[at + len(said) :]).max() < 0.05


def test_answers_after_enough_silence(parrot, one_turn):
    def first_answer(engine):
        return next(
            i for i, frames in enumerate(talk(engine, one_turn)) if any(isinstance(f, AudioOutput) for f in frames)
        )

    patient = ParrotEngine(LiveConfig(end_of_turn_ms=640 + 5 * 320))
    assert first_answer(patient) == first_answer(parrot) + 5


def test_answer_has_one_chunk_per_step_without_gaps(parrot, one_turn):
    lengths = [sum(f.num_samples for f in frames if isinstance(f, AudioOutput)) for frames in talk(parrot, one_turn)]
    speaking = np.flatnonzero(lengths)
    assert len(speaking) > 5
    assert np.array_equal(speaking, np.arange(speaking[0], speaking[-1] + 1))
    assert {lengths[i] for i in speaking} == {GRID.spoken_samples}


@pytest.mark.parametrize("delay", [0, 1000, 2560, 4000])
def test_stops_within_a_chunk_when_interrupted(parrot, one_turn, delay):
    answer_at = next(i for i, fs in enumerate(talk(parrot, one_turn)) if fs)
    sound = one_turn.copy()
    # The user interrupts the answer.
    speech = demo_speech(seconds=5)[16 * 512 :][: 3 * HEARD_HZ]
    begin = (answer_at + 3) * GRID.heard_samples + delay
    sound[begin : begin + len(speech)] = speech
    steps = talk(parrot, sound)
    (cut_at,) = [i for i, fs in enumerate(steps) for f in fs if isinstance(f, Interrupt) and f.turn_id == 0]
    assert cut_at * GRID.heard_samples - begin <= GRID.heard_samples  # the step after the start of the speech
    assert all(f.turn_id > 0 for fs in steps[cut_at:] for f in fs if isinstance(f, AudioOutput))
    assert 1 in sound_of(steps)  # the interruption is repeated as well


def test_long_turn_is_limited_to_its_last_seconds(one_turn):
    steps = talk(ParrotEngine(LiveConfig(max_turn_s=1.0)), one_turn)
    (said,) = sound_of(steps).values()
    assert SPOKEN_HZ <= len(said) < SPOKEN_HZ + GRID.spoken_samples


@pytest.mark.parametrize("sound", ["silence", "clicks", "hum"])
def test_noise_is_not_answered(parrot, sound):
    n = 20 * HEARD_HZ
    made = {
        "silence": np.zeros(n, np.float32),
        "clicks": (np.arange(n) % 8000 == 0).astype(np.float32),
        "hum": (0.3 * np.sin(np.arange(n) * 2 * np.pi * 50 / HEARD_HZ)).astype(np.float32),
    }[sound]
    assert not any(talk(parrot, made))


def test_repeats_real_speech(parrot, trial_data):
    from sca.audio.decode import read_audio

    sound = np.concatenate(
        [read_audio(trial_data / "clips" / "jfk.flac", HEARD_HZ), np.zeros(8 * HEARD_HZ, np.float32)]
    )
    steps = talk(parrot, sound)
    kinds = [(type(f), f.turn_id) for frames in steps for f in frames if isinstance(f, TurnEnd | Interrupt)]
    # Two pauses are long enough to end the turn; the third is its real end.
    assert kinds == [(Interrupt, 0), (Interrupt, 1), (TurnEnd, 2)]


# The end of turns


def turns(probabilities, **settings):
    detector = SilenceTurnDetector(LiveConfig(**settings))
    return [(i, turn) for i, p in enumerate(probabilities) if (turn := detector.push(p)) is not None]


def test_turn_is_speech_then_enough_silence():
    assert turns([0.0] * 3 + [0.9] * 10 + [0.0] * 30) == [(3 + 10 + 20 - 1, (3, 13))]


def test_short_pause_does_not_end_a_turn():
    assert turns([0.9] * 10 + [0.0] * 19 + [0.9] * 3 + [0.0] * 20) == [(51, (0, 32))]


def test_short_speech_is_not_a_turn():
    assert turns(([0.9] * 4 + [0.0] * 30) * 3) == []


def test_speech_continues_but_does_not_start_between_thresholds():
    assert turns([0.4] * 20 + [0.0] * 40) == []
    assert turns([0.9] + [0.4] * 9 + [0.0] * 20) == [(29, (0, 10))]
