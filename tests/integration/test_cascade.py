"""The engine `cascade` with scripted parts: the engine contract, interruptions, and what is remembered."""

import threading

import numpy as np
import pytest

from sca.config import LiveConfig
from sca.errors import ScaError
from sca.infer.engine import SessionConfig
from sca.infer.engines.cascade.engine import CascadeEngine
from sca.infer.frames import AudioOutput, ErrorFrame, Interrupt, TurnEnd, UserText
from sca.units import HEARD_HZ
from tests.helpers.engine_contract import GRID, EngineContract, demo_speech, inputs_of
from tests.helpers.scripted_parts import ScriptedRecognizers, scripted_parts
from tests.helpers.timeouts import until

LOCKSTEP = SessionConfig(grid=GRID, pace="lockstep")
QUIET = np.zeros(GRID.heard_samples, np.float32)


class TestCascade(EngineContract):
    @pytest.fixture
    def config(self):
        return LOCKSTEP

    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls):
        return CascadeEngine(scripted_parts())


@pytest.fixture(scope="module")
def turn():
    """Return the first turn of the demo, which ends near 4.4 s, and silence."""
    return np.concatenate([demo_speech(seconds=5), np.zeros(12 * HEARD_HZ, np.float32)])


def chunks(sound, first=0):
    return list(inputs_of(sound, features=False, first=first))


def run(session, sound, first=0):
    return [frame for one in chunks(sound, first) for frame in session.step(one)]


def spoken(frames):
    return "".join(f.text_log for f in frames if isinstance(f, AudioOutput))


def texts(session):
    return [(message.role, message.text) for message in session.talk.history.messages()]


def step_until(session, condition, first):
    """Step silence in real time until a condition on all frames holds; return the frames and the next index."""
    frames = []

    def holds():
        nonlocal first
        if condition(frames):
            return True
        frames.extend(run(session, QUIET, first))
        first += 1
        return False

    until(holds)
    return frames, first


def test_turn_is_recognized_answered_and_remembered(turn):
    engine = CascadeEngine(scripted_parts(), prompt="Be brief.")
    session = engine.open(LOCKSTEP)
    frames = run(session, turn)
    (asked,) = engine.parts.language.asked
    (words,) = [f for f in frames if isinstance(f, UserText)]
    assert words.is_final
    assert [m.role for m in asked] == ["system", "user"]
    assert (asked[0].text, asked[1].text) == ("Be brief.", words.text)
    assert spoken(frames) == f"You said: {words.text}. That is message 2, and this is the rest of the answer to it."
    assert [f.turn_id for f in frames if isinstance(f, TurnEnd)] == [0]
    assert texts(session)[1:] == [("user", words.text), ("assistant", spoken(frames))]
    assert engine.latency.document()["total"]["count"] == 1
    assert engine.latency.document()["endpoint"]["p50"] >= LiveConfig().end_of_turn_ms
    session.close()
    assert all(one.closed for one in engine.parts.recognizer.opened)


def test_recognizer_gets_the_turn_while_it_is_spoken(turn):
    recognizer = ScriptedRecognizers()
    session = CascadeEngine(scripted_parts(recognizer=recognizer)).open(LOCKSTEP)
    session_frames = [session.step(one) for one in chunks(turn[: 3 * HEARD_HZ])]
    assert not any(session_frames)
    (utterance,) = recognizer.opened
    heard = np.concatenate(utterance.samples)
    assert len(heard) > HEARD_HZ
    np.testing.assert_array_equal(heard, turn[: 3 * HEARD_HZ // GRID.heard_samples * GRID.heard_samples][-len(heard) :])
    session.close()


def test_prompt_of_a_client_wins():
    engine = CascadeEngine(scripted_parts(), prompt="ours", default_prompt="of training")
    for given, used in (("", "ours"), ("of training", "ours"), ("theirs", "theirs")):
        session = engine.open(SessionConfig(grid=GRID, prompt=given))
        assert session.talk.history.messages()[0].text == used
        session.close()


def test_first_clause_is_spoken_before_the_answer_is_complete(turn):
    rest = threading.Event()
    engine = CascadeEngine(scripted_parts(lambda messages: ["The first clause is here, ", "and", rest, " the rest."]))
    session = engine.open(SessionConfig(grid=GRID))
    before = run(session, turn[: 6 * HEARD_HZ])
    frames, at = step_until(session, lambda frames: spoken(before + frames), 100)
    frames = before + frames
    assert "The first clause is here".startswith(spoken(frames).strip(", "))
    assert not any(isinstance(f, TurnEnd) for f in frames)
    rest.set()
    more, _ = step_until(session, lambda frames: any(isinstance(f, TurnEnd) for f in frames), at)
    assert spoken(frames + more) == "The first clause is here, and the rest."
    session.close()


def test_step_never_waits_in_real_time(turn):
    recognizer, forever = ScriptedRecognizers(), threading.Event()
    recognizer.ready.clear()
    engine = CascadeEngine(scripted_parts(lambda messages: [forever], recognizer=recognizer))
    session = engine.open(SessionConfig(grid=GRID))
    frames = run(session, turn)  # would not return if a step waited
    assert not spoken(frames)
    assert all(not f.is_final for f in frames if isinstance(f, UserText))
    assert any(isinstance(f, UserText) for f in frames)
    recognizer.ready.set()
    frames, _ = step_until(session, lambda frames: any(isinstance(f, UserText) for f in frames), 100)
    assert [f.is_final for f in frames] == [True]
    session.close()
    forever.set()


def test_interrupted_answer_is_cut_to_what_was_played(turn):
    engine = CascadeEngine(scripted_parts())
    session = engine.open(LOCKSTEP)
    frames, first = [], 0
    while len([f for f in frames if isinstance(f, AudioOutput)]) < 4:
        frames += session.step(chunks(turn)[first])
        first += 1
    again = run(session, turn[: 6 * HEARD_HZ], first)
    assert [f.turn_id for f in again if isinstance(f, Interrupt)] == [0]
    assert min(f.turn_id for f in again if isinstance(f, AudioOutput) and f.chunk_index > first + 8) == 1
    session.set_played(0, 24_000)
    before = next(text for role, text in texts(session) if role == "assistant")
    assert 0 < len(before) < len(spoken(frames))
    assert spoken(frames).startswith(before)
    session.close()


def test_turn_that_goes_on_before_the_answer_is_answered_as_one(turn):
    recognizer = ScriptedRecognizers(lambda samples: "more" if len(samples) > 70_000 else "some")
    recognizer.ready.clear()
    engine = CascadeEngine(scripted_parts(recognizer=recognizer))
    session = engine.open(SessionConfig(grid=GRID))
    run(session, turn[: 6 * HEARD_HZ])
    run(session, turn[: 6 * HEARD_HZ], 50)
    recognizer.ready.set()
    frames, _ = step_until(session, spoken, 100)
    (words,) = [f.text for f in frames if isinstance(f, UserText) and f.is_final]
    assert len(words.split()) == 2
    assert texts(session)[0] == ("user", words)
    session.close()


def test_interrupt_of_the_client_keeps_the_words_of_the_user(turn):
    engine = CascadeEngine(scripted_parts())
    session = engine.open(LOCKSTEP)
    frames, first = [], 0
    while not spoken(frames):
        frames += session.step(chunks(turn)[first])
        first += 1
    session.interrupt(5)
    session.set_played(0, 0)
    assert [role for role, _ in texts(session)] == ["user"]
    more = run(session, turn[: 7 * HEARD_HZ], first)
    assert min(f.turn_id for f in more if isinstance(f, AudioOutput)) >= 5
    session.close()


@pytest.mark.parametrize("broken", ["mind", "ears", "voice"])
def test_failure_of_a_part_ends_the_answer_only(turn, broken):
    recognizer, calls, spoken_texts = ScriptedRecognizers(), [], []

    def answer(messages):
        calls.append(messages)
        return [ScaError("the mind failed")] if broken == "mind" and len(calls) == 1 else ["All is well again."]

    class Voice:
        sample_rate = 24_000

        def speak(self, pieces):
            spoken_texts.append(pieces)
            if len(spoken_texts) == 1 and broken == "voice":
                raise RuntimeError("the voice\nfailed")
            return iter(())

        def cancel(self):
            pass

        close = cancel

    engine = CascadeEngine(scripted_parts(answer, recognizer=recognizer, voice=Voice))
    session = engine.open(LOCKSTEP)
    if broken == "ears":
        recognizer.error = ScaError("the ears failed")
    frames = run(session, turn)
    recognizer.error = None
    (error,) = [f for f in frames if isinstance(f, ErrorFrame)]
    assert f"the {broken}" in error.message
    assert "\n" not in error.message
    assert not error.fatal
    assert spoken(run(session, turn, 100)) == "All is well again."
    session.close()


def test_speech_without_words_is_not_answered(turn):
    engine = CascadeEngine(scripted_parts(recognizer=ScriptedRecognizers(lambda samples: "")))
    session = engine.open(LOCKSTEP)
    frames = run(session, turn)
    assert [f.text for f in frames] == [""]
    assert engine.parts.language.asked == []
    session.close()
