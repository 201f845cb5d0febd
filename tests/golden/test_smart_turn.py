"""smart-turn v3 on fixed waveforms: the probabilities do not change, and equal those of pipecat's own analyzer.

This does not test the accuracy of the model. The tolerance is for other CPUs, which may round int8 dot products differently.
"""

import numpy as np
import onnxruntime
import pytest

from sca.audio.decode import read_audio
from sca.infer.turn.models.smart_turn_v3 import SmartTurnV3
from sca.infer.turn.models.weights import bundled_file, find_weights

TOLERANCE = 0.02


def noise(seed: int, samples: int, level: float) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(samples) * level).astype(np.float32)


def tone(hz: float, samples: int) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hz * np.arange(samples) / 16_000)).astype(np.float32)


def vowel(samples: int, fall: float) -> np.ndarray:
    """A voice-like sound: harmonics with a resonance, and a pitch that changes by the factor `fall`."""
    t = np.arange(samples) / 16_000
    phase = 2 * np.pi * np.cumsum(120 * fall ** (t / t[-1])) / 16_000
    harmonics = sum(np.sin(k * phase) / (1 + abs(k - 5)) for k in range(1, 20))
    return (0.1 * harmonics * np.minimum(1, 4 * np.sin(np.pi * t / t[-1]))).astype(np.float32)


WAVEFORMS = {
    "silence": np.zeros(16_000, np.float32),
    "noise": noise(0, 48_000, 0.05),
    "tone": tone(440, 64_000),
    "falling": np.concatenate([vowel(32_000, 0.6), np.zeros(3200, np.float32)]),
    "rising": np.concatenate([vowel(32_000, 1.5), np.zeros(3200, np.float32)]),
    "cut": vowel(32_000, 0.9)[:25_000],
    "long": np.concatenate([vowel(100_000, 0.8), np.zeros(50_000, np.float32)]),
}
GOLDEN = {
    "silence": 0.987,
    "noise": 0.7791,
    "tone": 0.0177,
    "falling": 0.0064,
    "rising": 0.0099,
    "cut": 0.0088,
    "long": 0.9786,
}
# Probability by the seconds of the clip, from its start.
SPEECH_GOLDEN = {1.0: 0.0067, 2.2: 0.8341, 4.5: 0.0157, 6.0: 0.08, 8.4: 0.013, 10.5: 0.9333, 11.0: 0.8341}
STAND_IN_GOLDEN = {1.0: 0.8935, 2.2: 0.0575, 4.5: 0.1183, 6.0: 0.0315, 8.4: 0.0111, 10.5: 0.0534, 11.0: 0.296}


def precise(analyzer):
    """Give pipecat's analyzer a session whose int8 products do not saturate, as its own do on CPUs without VNNI."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.x64quantprecision", "1")
    analyzer._session = onnxruntime.InferenceSession(bundled_file(), options, providers=["CPUExecutionProvider"])
    return analyzer


@pytest.fixture(scope="module")
def model():
    return SmartTurnV3(bundled_file())


@pytest.fixture(scope="module")
def pipecat_probability():
    from pipecat.audio.turn.smart_turn.local_smart_turn_v3 import LocalSmartTurnAnalyzerV3

    analyzer = precise(LocalSmartTurnAnalyzerV3())
    return lambda x: analyzer._predict_endpoint(x)["probability"]


@pytest.fixture(scope="module")
def speech(trial_data):
    return read_audio(trial_data / "clips" / "jfk.flac", 16_000)


def test_bundled_weights_are_the_tested_ones():
    assert find_weights(None).known


@pytest.mark.parametrize("name", WAVEFORMS)
def test_fixed_waveforms_give_fixed_probabilities(name, model):
    assert model(WAVEFORMS[name]) == pytest.approx(GOLDEN[name], abs=TOLERANCE)


@pytest.mark.parametrize("name", WAVEFORMS)
def test_probabilities_equal_those_of_pipecat(name, model, pipecat_probability):
    assert model(WAVEFORMS[name]) == pytest.approx(pipecat_probability(WAVEFORMS[name]), abs=1e-5)


@pytest.mark.parametrize("seconds", SPEECH_GOLDEN)
def test_speech_probabilities_equal_those_of_pipecat(model, speech, pipecat_probability, seconds):
    x = speech[: round(seconds * 16_000)]
    assert model(x) == pytest.approx(pipecat_probability(x), abs=1e-5)


@pytest.mark.parametrize("seconds", SPEECH_GOLDEN)
def test_known_speech_gives_fixed_probabilities(model, stand_in, real_recordings, seconds):
    """Test the synthetic speech, and the real recording if it is available."""
    known = {stand_in: STAND_IN_GOLDEN} | ({real_recordings: SPEECH_GOLDEN} if real_recordings else {})
    for folder, golden in known.items():
        x = read_audio(folder / "clips" / "jfk.flac", 16_000)[: round(seconds * 16_000)]
        assert model(x) == pytest.approx(golden[seconds], abs=TOLERANCE)
