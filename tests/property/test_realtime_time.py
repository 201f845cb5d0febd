"""`/v1/realtime` hears the same for any pieces, formats and paces: events and audio in simulated time."""

import random
from concurrent.futures import Future

import numpy as np
import pytest

from sca.audio.decode import read_audio
from sca.audio.g711 import encode_g711
from sca.audio.resample import resample
from sca.infer.turn.detector import ModelTurnDetector
from tests.helpers.realtime_lockstep import append_event, hold, outline

FORMATS = {"audio/pcm": 24_000, "audio/pcmu": 8_000, "audio/pcma": 8_000}


@pytest.fixture(scope="module")
def talk(trial_data):
    """Two phrases, of which the second interrupts the answer to the first; float32 at 24 kHz."""
    phrase = read_audio(trial_data / "clips" / "jfk.flac", 24_000)[: int(2.3 * 24_000)]
    silence = np.zeros(24_000, np.float32)
    return np.concatenate([silence[:8000], phrase, silence, silence[:4000], phrase, *[silence] * 4])


@pytest.fixture(scope="module")
def turn(talk):
    """One phrase, and silence after it."""
    return np.concatenate([talk[: int(24_000 * 3.5)], np.zeros(24_000 * 2, np.float32)])


def encoded(sound, name):
    """Return a sound as bytes, and the bytes of a sample."""
    if name == "audio/pcm":
        return np.rint(sound * 32767).astype("<i2").tobytes(), 2
    low = np.rint(resample(sound, 24_000, 8_000) * 32767).astype(np.int16)
    return encode_g711(low, "ulaw" if name == "audio/pcmu" else "alaw"), 1


def session(name, **detection):
    heard = {"format": {"type": name}, "turn_detection": {"type": "server_vad", **detection}}
    return {"type": "session.update", "session": {"type": "realtime", "audio": {"input": heard}}}


def pieces(data, sizes, rate_hz, width, pace, stalls=()):
    """Yield the messages of a client.

    Args:
        data: The bytes.
        sizes: Yields the samples of each piece.
        rate_hz: The sample rate.
        width: The bytes of a sample.
        pace: "realtime", "bursts" (of a second) or "faster".
        stalls: Pairs of a time in the sound and the length of a pause, after which the client catches up.
    """
    at = 0
    while at < len(data):
        piece = data[at : at + width * next(sizes)]
        at += len(piece)
        end_s = at / width / rate_hz
        due_s = {"realtime": end_s, "bursts": float(-int(-end_s)), "faster": 0.0}[pace]
        for start_s, length_s in stalls:
            if start_s <= due_s < start_s + length_s:
                due_s = start_s + length_s
        yield due_s, append_event(piece)


def sizes_of(rng):
    """Return an endless iterator of sizes of pieces: equal ones, or random ones."""
    most = rng.choice([40, 160, 480, 960, 4800])
    equal = rng.random() < 0.5
    return iter(lambda: most if equal else rng.randint(1, most), None)


def said(sound, name, sizes, pace, stalls=(), **detection):
    data, width = encoded(sound, name)
    messages = [(0.0, session(name, **detection)), *pieces(data, sizes, FORMATS[name], width, pace, stalls)]
    return outline(hold(messages))


@pytest.mark.parametrize("name", FORMATS)
def test_pieces_and_pace_do_not_matter(talk, name):
    rng = random.Random(name)
    kinds, audio = said(talk, name, iter(lambda: 800, None), "realtime")
    found = [kind for kind, *_ in kinds]
    assert found.count("input_audio_buffer.speech_started") == found.count("response.created") == 2
    assert [entry[4:] for entry in kinds if entry[0] == "response.done"] == [
        ("cancelled", "turn_detected"), ("completed", None),
    ]  # fmt: skip
    assert len(audio) > 2 * 24_000 * 2
    for pace in ("realtime", "bursts", "faster"):
        assert said(talk, name, sizes_of(rng), pace) == (kinds, audio), pace


@pytest.mark.parametrize("stall_s", [0.4, 0.9, 2.7])
def test_stalls_are_not_heard(turn, stall_s):
    rng, name = random.Random(stall_s), "audio/pcm"
    expected = said(turn, name, iter(lambda: 480, None), "realtime")
    assert [kind for kind, *_ in expected[0]].count("response.created") == 1
    for _ in range(2):
        stalls = [(rng.uniform(0.4, 2.0), stall_s)]
        assert said(turn, name, sizes_of(rng), "realtime", stalls) == expected, stalls


def test_a_client_that_stops_in_mid_speech_is_answered(talk):
    name, width = "audio/pcm", 2
    sound = talk[: int(24_000 * 1.5)]  # ends in the phrase
    data, _ = encoded(sound, name)
    sent = hold([(0.0, session(name)), *pieces(data, iter(lambda: 480, None), 24_000, width, "realtime")])
    times = {event["type"]: at_s for at_s, event in sent}
    assert times["input_audio_buffer.speech_stopped"] == pytest.approx(1.5 + 3.0, abs=0.05)
    assert times["response.done"] < 1.5 + 3.0 + 2.0
    _, audio = outline(sent)
    assert len(audio) / 2 / 24_000 == pytest.approx(1.5, abs=0.5)


@pytest.mark.parametrize("silence_ms", [200, 500, 2000])
def test_turns_end_after_the_silence_of_the_client(turn, silence_ms):
    name = "audio/pcm"
    data, width = encoded(turn, name)
    setup = session(name, silence_duration_ms=silence_ms, interrupt_response=False)
    sent = hold([(0.0, setup), *pieces(data, iter(lambda: 480, None), 24_000, width, "realtime")])
    kinds = [event["type"] for _, event in sent]
    order = ["input_audio_buffer.speech_stopped", "input_audio_buffer.committed", "response.created"]
    assert [kinds.index(kind) for kind in order] == sorted(kinds.index(kind) for kind in order)
    stopped_s, stopped = next((at_s, e) for at_s, e in sent if e["type"] == order[0])
    silence_s = stopped_s - stopped["audio_end_ms"] / 1000
    assert silence_ms / 1000 <= silence_s < silence_ms / 1000 + 0.1


def test_answer_is_finished_if_interruptions_are_off(talk):
    kinds, audio = said(talk, "audio/pcm", iter(lambda: 480, None), "realtime", interrupt_response=False)
    done = [entry[4] for entry in kinds if entry[0] == "response.done"]
    assert done == ["completed", "completed"]
    order = [entry[0] for entry in kinds]
    second_turn = len(order) - order[::-1].index("input_audio_buffer.speech_started")
    assert order.index("response.done") > second_turn
    assert len(audio) / 2 / 24_000 == pytest.approx(2 * 2.6, abs=0.7)


def test_threshold_and_padding_are_obeyed(turn):
    name = "audio/pcm"
    usual, usual_audio = said(turn, name, iter(lambda: 480, None), "faster")
    padded, padded_audio = said(turn, name, iter(lambda: 480, None), "faster", prefix_padding_ms=0)
    assert len(usual_audio) > len(padded_audio)
    quiet, _ = said(0.001 * turn, name, iter(lambda: 480, None), "faster", threshold=1.0)
    assert not [entry for entry in quiet if "speech" in entry[0]]
    started = [next(entry[1] for entry in kinds if "started" in entry[0]) for kinds in (usual, padded)]
    assert started[1] - started[0] == 300 or started[0] == 0


def stop_of(turn, turns=None, **detection):
    """Return the silence after which a turn was over, in ms, and the settings that the server reports."""
    data, width = encoded(turn, "audio/pcm")
    setup = {"type": "session.update", "session": {"turn_detection": {"type": "semantic_vad", **detection}}}
    sent = hold([(0.0, setup), *pieces(data, iter(lambda: 480, None), 24_000, width, "realtime")], turns=turns)
    at_s, stopped = next((at_s, e) for at_s, e in sent if e["type"] == "input_audio_buffer.speech_stopped")
    updated = next(e for _, e in sent if e["type"] == "session.updated")
    return at_s * 1000 - stopped["audio_end_ms"], updated["session"]["audio"]["input"]["turn_detection"]


@pytest.mark.parametrize(("eagerness", "silence_ms"), [("low", 1500), ("auto", 800), ("high", 400)])
def test_eagerness_without_a_model_is_a_silence(turn, eagerness, silence_ms):
    found_ms, reported = stop_of(turn, eagerness=eagerness)
    assert silence_ms <= found_ms <= silence_ms + 60
    assert reported == {
        "type": "semantic_vad", "eagerness": eagerness, "create_response": True, "interrupt_response": True,
    }  # fmt: skip


class Sure:
    """A model that answers every question with the same probability, at once."""

    def __init__(self, probability):
        self.probability = probability

    def ask(self, samples):
        answer = Future()
        answer.set_result(self.probability)
        return answer


@pytest.mark.parametrize(("eagerness", "silence_ms"), [("low", 2000), ("medium", 600), ("high", 200)])
def test_eagerness_with_a_model_is_a_threshold(turn, eagerness, silence_ms):
    def turns(schedule, fallback_ms):
        return ModelTurnDetector(None, schedule, background=Sure(0.47))

    found_ms, _ = stop_of(turn, turns, eagerness=eagerness)
    assert silence_ms <= found_ms <= silence_ms + 120


def test_turns_are_found_by_the_model_that_the_server_has(talk):
    """The usual end of a turn is that of the model, in a session whose client sets nothing."""

    def turns(schedule, fallback_ms):
        return ModelTurnDetector(None, schedule, background=Sure(0.0))

    data, width = encoded(talk[: 24_000 * 4], "audio/pcm")
    sent = hold(pieces(data, iter(lambda: 480, None), 24_000, width, "realtime"), turns=turns)
    assert sent[0][1]["session"]["audio"]["input"]["turn_detection"]["type"] == "semantic_vad"
    kinds = [event["type"] for _, event in sent]
    assert kinds.count("input_audio_buffer.speech_started") == 1  # the pause of 1.2 s does not end the turn
