"""Turn-taking metrics of speech segments. Times are samples at 16 kHz."""

import numpy as np
import pytest
import soundfile

from sca.audio.vad import SileroVad
from sca.infer.eval.full_duplex_bench import task_of
from sca.infer.eval.turn_metrics import (
    TurnMetrics,
    measure_backchannels,
    measure_interruption,
    measure_pause_handling,
    measure_turn_taking,
    speech_in,
    summarize,
)

S = 16_000


def test_one_second_of_speech_takes_the_turn():
    assert measure_turn_taking([(5 * S, 6 * S)], 4 * S) == TurnMetrics(True, 1.0)
    assert measure_turn_taking([(5 * S, 6 * S - 1)], 4 * S) == TurnMetrics(False, None)
    # From the first speech to the last, as the benchmark counts words.
    assert measure_turn_taking([(5 * S, 5 * S + 100), (7 * S, 7 * S + 100)], 4 * S).took_over
    assert measure_turn_taking([], 4 * S) == TurnMetrics(False)


def test_latency_is_not_negative():
    assert measure_turn_taking([(3 * S, 6 * S)], 4 * S).response_s == 0.0


def test_speaking_in_a_pause():
    gaps = [(2 * S, 3 * S)]
    assert measure_pause_handling([(int(2.5 * S), 4 * S)], gaps, 6 * S) == TurnMetrics(True, spoke_in_pause=True)
    assert measure_pause_handling([(7 * S, 9 * S)], gaps, 6 * S) == TurnMetrics(True, spoke_in_pause=False)
    assert measure_pause_handling([], gaps, 6 * S) == TurnMetrics(False, spoke_in_pause=False)


def test_interruption_stops_and_starts_an_answer():
    said = [(2 * S, int(5.25 * S)), (8 * S, 10 * S)]
    assert measure_interruption(said, 5 * S, 7 * S) == TurnMetrics(True, 1.0, stop_s=0.25)
    assert measure_interruption([(8 * S, 10 * S)], 5 * S, 7 * S) == TurnMetrics(True, 1.0)
    assert measure_interruption([(2 * S, 6 * S)], 5 * S, 7 * S) == TurnMetrics(False, stop_s=1.0)
    # It continues through the interruption: the rest counts as an immediate answer.
    assert measure_interruption([(2 * S, 9 * S)], 5 * S, 7 * S) == TurnMetrics(True, 0.0, stop_s=4.0)


def test_backchannels_are_short():
    assert measure_backchannels([(S, S + 4000), (5 * S, 5 * S + 4000)], 10 * S) == TurnMetrics(
        False, backchannels_per_s=0.2
    )
    assert measure_backchannels([(S, 3 * S)], 10 * S).took_over
    assert measure_backchannels([], 0).backchannels_per_s == 0


def test_summary_averages_available_metrics():
    found = summarize([TurnMetrics(True, 1.0), TurnMetrics(False), TurnMetrics(True, 2.0, stop_s=0.5)])
    assert found == {
        "items": 3,
        "take_over_rate": 0.6667,
        "response_latency_s": 1.5,
        "spoke_in_pause_rate": None,
        "stop_latency_s": 0.5,
        "backchannels_per_s": None,
    }
    assert summarize([])["take_over_rate"] is None


@pytest.mark.parametrize("samples", [S, 10])
def test_silence_is_not_speech(tmp_path, samples):
    soundfile.write(tmp_path / "a.wav", np.zeros(samples, np.float32), S)
    assert speech_in(SileroVad(), tmp_path / "a.wav") == ([], samples)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("candor_pause_handling", "pause"),
        ("synthetic_pause_handling", "pause"),
        ("candor_turn_taking", "turn"),
        ("icc_backchannel", "backchannel"),
        ("synthetic_user_interruption", "interruption"),
        ("user_interruption", "interruption"),
        ("user_backchannel", "other"),
        ("background_speech", "other"),
    ],
)
def test_tasks_are_known_by_their_folder(name, kind):
    assert task_of(name) == kind
