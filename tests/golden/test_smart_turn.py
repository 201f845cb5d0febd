"""smart-turn v3 on fixed waveforms: the probabilities do not change, and equal those of pipecat's own analyzer.

This does not test the accuracy of the model. The tolerance is for other CPUs, which may round int8 dot products
differently.
"""

import pytest

from sca.audio.decode import read_audio
from sca.infer.turn.models.smart_turn_v3 import SmartTurnV3
from sca.infer.turn.models.weights import bundled_file, find_weights
from tests.helpers.smart_turn import GOLDEN, TOLERANCE, WAVEFORMS, precise

# Probability by the seconds of the clip, from its start.
SPEECH_GOLDEN = {1.0: 0.0067, 2.2: 0.8341, 4.5: 0.0157, 6.0: 0.08, 8.4: 0.013, 10.5: 0.9333, 11.0: 0.8341}
STAND_IN_GOLDEN = {1.0: 0.8935, 2.2: 0.0575, 4.5: 0.1183, 6.0: 0.0315, 8.4: 0.0111, 10.5: 0.0534, 11.0: 0.296}


@pytest.fixture(scope="module")
def model():
    return SmartTurnV3(bundled_file(), dtype="int8")


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
