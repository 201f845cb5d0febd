"""The simulated user and its metrics, with engines whose right answer is known."""

import numpy as np
import pytest

from sca.config import LiveConfig, Settings
from sca.errors import UsageError
from sca.simulate.measure import TalkMetrics, measure_talk, summarize_talks, wilson
from sca.simulate.plan import AwaitQuiet, AwaitSpeech, Pause, Plan, Say, parse_scenarios
from sca.simulate.talk import AudibleSpeech, hold_talk
from sca.synth.voices import VoiceName
from sca.units import HEARD_HZ
from tests.helpers.talkers import Talker, answers

CHUNK = 5120


def settings(**live):
    return Settings(live=LiveConfig(**live))


SETTINGS = settings(step_cost_ms=0, playout_delay_ms=0)


def sound(seconds, kind="question", level=0.5):
    """Return a word of a constant level, and 60 ms of silence after it."""
    samples = np.zeros(int((seconds + 0.06) * HEARD_HZ), np.float32)
    samples[: int(seconds * HEARD_HZ)] = level
    return Say(kind, samples, (("word", 0, int(seconds * HEARD_HZ)),))


def plan(scenario, *acts):
    return Plan(scenario, 1, VoiceName("espeak"), (Pause(8000), *acts), 7)


LISTENS = AwaitSpeech(speaking=HEARD_HZ)
ANSWER = plan("answer", sound(2.0), AwaitSpeech(), AwaitQuiet())
INTERRUPT = plan("interrupt", sound(2.0), LISTENS, sound(2.5, "interruption"), AwaitSpeech(fresh=True), AwaitQuiet())
BACKCHANNEL = plan("backchannel", sound(2.0), LISTENS, sound(0.4, "backchannel", 0.3), AwaitQuiet())
HOLD = plan("hold", sound(2.0), Pause(int(0.9 * HEARD_HZ)), sound(2.0), AwaitSpeech(), AwaitQuiet())
NOISE = plan("noise", sound(2.0, "noise", 0.1), Pause(HEARD_HZ), sound(2.0), AwaitSpeech(), AwaitQuiet())


def metrics(one, speaks, **options):
    return measure_talk(hold_talk(one, Talker(speaks, **options), SETTINGS))


@pytest.mark.parametrize("after", [1, 2, 5, 9])
def test_latency_of_an_engine_that_answers_after_known_chunks(after):
    found = metrics(ANSWER, answers(8, after=after))
    end = 8000 + 2 * HEARD_HZ
    last_loud = (end - 1) // CHUNK
    # The answer to a chunk is played from the end of that chunk on.
    assert found.response_s == ((last_loud + after + 1) * CHUNK - end) / HEARD_HZ
    assert (found.took_over, found.false_takeover) == (True, False)


def test_play_out_delay_is_part_of_the_latency():
    delayed = settings(step_cost_ms=20, playout_delay_ms=100)
    at_once, later = (measure_talk(hold_talk(ANSWER, Talker(answers(8)), s)) for s in (SETTINGS, delayed))
    assert later.response_s - at_once.response_s == pytest.approx(0.12, abs=1e-4)


def test_short_sounds_do_not_take_the_turn():
    found = metrics(ANSWER, answers(2))  # 0.64 s
    assert (found.took_over, found.response_s, found.spoke) == (False, None, True)


def test_user_waits_in_vain_for_six_seconds():
    talk = hold_talk(ANSWER, Talker(lambda session: False), SETTINGS)
    assert talk.unanswered
    assert len(talk.user) / HEARD_HZ == pytest.approx(0.5 + 2.06 + 6, abs=0.05)
    assert measure_talk(talk) == TalkMetrics(spoke=False, took_over=False, false_takeover=False)


def test_interruption_stops_the_engine_and_is_answered():
    talk = hold_talk(INTERRUPT, Talker(answers(20)), SETTINGS)
    question, interruption = talk.said
    found = measure_talk(talk)
    assert interruption.start - talk.speech[0][0] == pytest.approx(HEARD_HZ, abs=320)
    # It hears the interruption in the chunk that contains its start, and stops at the end of that chunk.
    assert found.stop_s == ((interruption.start // CHUNK + 1) * CHUNK - interruption.start) / HEARD_HZ
    assert (found.stopped, found.took_over) == (True, True)
    last_loud = (interruption.end - 1) // CHUNK
    assert found.response_s == ((last_loud + 2) * CHUNK - interruption.end) / HEARD_HZ
    assert question.end < interruption.start


def test_engine_that_never_stops():
    found = metrics(INTERRUPT, answers(100, stops=False))
    assert (found.stopped, found.stop_s, found.took_over) == (False, None, False)
    assert summarize_talks([found])["stop"]["rate"] == 0
    assert summarize_talks([found])["stop_latency"] is None


def test_nothing_to_interrupt_is_not_judged():
    found = metrics(INTERRUPT, answers(2))
    assert found == TalkMetrics(spoke=True)
    assert summarize_talks([found])["not_judged"] == 1
    assert summarize_talks([found])["stop"] is None


@pytest.mark.parametrize(
    ("rule", "completes", "expected"),
    [
        (answers(20), False, True),  # stops at every sound of the user
        (answers(20, stops=False), False, False),  # goes on
        (answers(5, stops=False), True, None),  # has finished its answer during the backchannel
    ],
)
def test_backchannel(rule, completes, expected):
    found = metrics(BACKCHANNEL, rule, completes=completes)
    assert found.false_stop is expected
    assert (found.took_over, found.stopped) == (None, None)


@pytest.mark.parametrize(("after", "expected"), [(1, True), (4, False)])
def test_hold(after, expected):
    found = metrics(HOLD, answers(8, after=after))
    assert (found.false_takeover, found.took_over) == (expected, True)


def test_noise():
    assert metrics(NOISE, answers(8)).false_takeover is False
    reacts = metrics(NOISE, lambda session: session.index in range(9, 12) or answers(8)(session))
    assert reacts.false_takeover is True


@pytest.mark.parametrize("one", [ANSWER, HOLD, NOISE, INTERRUPT, BACKCHANNEL])
def test_engine_that_always_speaks(one):
    found = metrics(one, lambda session: True)
    assert found.response_s is None
    if one in (ANSWER, HOLD, NOISE):
        assert (found.false_takeover, found.took_over) == (True, False)
    assert found.stopped is (False if one is INTERRUPT else None)
    assert found.false_stop is (False if one is BACKCHANNEL else None)


def test_same_talk_twice():
    first, second = (hold_talk(INTERRUPT, Talker(answers(20)), SETTINGS) for _ in range(2))
    np.testing.assert_array_equal(first.user, second.user)
    np.testing.assert_array_equal(first.engine, second.engine)
    assert (first.said, first.speech) == (second.said, second.speech)


@pytest.mark.parametrize("size", [977, 4097, 9600])
def test_any_pieces_give_the_same_speech(size):
    signal = np.zeros(40_000, np.float32)
    for start, end in ((100, 200), (9_000, 9_700), (20_000, 24_000), (26_000, 28_000), (28_500, 30_000)):
        signal[start:end] = 0.5
    speech = AudibleSpeech(HEARD_HZ)
    speech.begin_turn(25_000)
    speech.begin_turn(28_200)
    for at in range(0, len(signal), size):
        speech.push(signal[at : at + size])
    # A pause of 0.55 s is inside speech, one of 0.64 s is not; between turns 0.12 s are enough and 0.03 s are not.
    assert speech.segments == [(100, 9_700), (20_000, 24_000), (26_000, 30_000)]


@pytest.mark.parametrize(
    ("count", "of", "low", "high"),
    [(0, 10, 0, 0.2775), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1), (1, 1, 0.2065, 1), (81, 263, 0.2553, 0.3662)],
)
def test_wilson_interval(count, of, low, high):
    """The last one is in Newcombe, Statistics in Medicine 17 (1998), table I."""
    rate = wilson(count, of)
    assert (rate["low"], rate["high"]) == pytest.approx((low, high), abs=1e-4)
    assert (rate["count"], rate["of"], rate["rate"]) == (count, of, round(count / of, 4))


def test_scenarios():
    assert parse_scenarios("hold, answer") == ("answer", "hold")
    assert len(parse_scenarios("all")) == 5
    for text, message in (("answer,sing", "the scenario sing does not exist"), (" , ", "--scenarios is empty")):
        with pytest.raises(UsageError, match=message):
            parse_scenarios(text)
