"""Answers of the engine `cascade` that are prepared in a pause: used, withdrawn, interrupted, and never remembered."""

import threading

import numpy as np
import pytest

from sca.audio.vad import FRAME_SAMPLES
from sca.config import LiveConfig
from sca.infer.engine import SessionConfig
from sca.infer.engines.cascade.engine import CascadeEngine
from sca.infer.frames import AudioInput, AudioOutput, Interrupt, TurnEnd, TurnSignal, UserText
from sca.units import HEARD_HZ
from tests.helpers.engine_contract import GRID, demo_speech
from tests.helpers.scripted_parts import ScriptedRecognizers, ScriptedVoice, scripted_parts
from tests.helpers.timeouts import TIMEOUT_S, until

SIZE = GRID.heard_samples
PAUSE = 3000
SPOKEN = "The first clause is here, and the rest follows."


class Talk:
    """A session in real time whose chunks come when the test wants."""

    def __init__(self, *, early=3, turns="found", answer=None, **others):
        self.recognizer = ScriptedRecognizers(lambda heard: f"{np.count_nonzero(heard)} heard", pause_samples=PAUSE)
        parts = scripted_parts(answer or (lambda messages: [SPOKEN]), recognizer=self.recognizer, **others)
        self.engine = CascadeEngine(parts, LiveConfig(early_answers=early))
        self.session = self.engine.open(SessionConfig(grid=GRID, turns=turns))
        self.at, self.frames = 0, []

    @property
    def asked(self):
        return self.engine.parts.language.asked

    @property
    def early(self):
        return dict(self.engine.latency.early)

    @property
    def history(self):
        return [(message.role, message.text) for message in self.session.talk.history.messages()]

    @property
    def released(self):
        """Everything but partial texts of the user."""
        return [frame for frame in self.frames if not isinstance(frame, UserText) or frame.is_final]

    @property
    def spoken(self):
        return "".join(frame.text_log for frame in self.frames if isinstance(frame, AudioOutput))

    def hear(self, sound, *signals):
        for start in range(0, len(sound), SIZE):
            one = AudioInput(
                np.zeros((1, 128, 0), np.float32),
                sound[start : start + SIZE],
                self.at,
                self.at * SIZE,
                sound_start=self.at * SIZE,
                signals=signals,
            )
            self.frames += self.session.step(one)
            self.at += 1

    def quiet(self, chunks=1):
        self.hear(np.zeros(chunks * SIZE, np.float32))

    def until_asked(self, times):
        until(lambda: len(self.asked) == times)

    def until(self, condition):
        def holds():
            if condition():
                return True
            self.quiet()
            return False

        until(holds)


@pytest.fixture(scope="module")
def speech():
    """Return 1.28 s of speech without a pause and without digital silence."""
    return demo_speech(seconds=5)[92 * FRAME_SAMPLES :][: 4 * SIZE] + np.float32(1e-6)


def user_texts(talk):
    return [frame.text for frame in talk.frames if isinstance(frame, UserText) and frame.is_final]


def test_answer_prepared_in_the_pause_is_used(speech):
    talk = Talk()
    talk.hear(speech)
    assert talk.asked == []
    talk.quiet()
    until(lambda: talk.asked)
    until(lambda: talk.session._early._early.turn.answer.times.done_s)
    assert talk.released == []
    assert talk.history == []
    talk.until(lambda: any(isinstance(frame, TurnEnd) for frame in talk.frames))
    (text,) = user_texts(talk)
    assert talk.spoken == SPOKEN
    assert talk.history == [("user", text), ("assistant", SPOKEN)]
    assert len(talk.asked) == 1
    assert talk.early == {"used": 1}
    document = talk.engine.latency.document()
    assert document["recognizer"]["p50"] == document["voice"]["p50"] == 0.0
    assert document["total"]["p50"] >= document["endpoint"]["p50"] >= 640
    talk.session.close()
    assert all(one.closed for one in talk.recognizer.opened)


class SlowVoice(ScriptedVoice):
    """Makes the first clause until it is cancelled."""

    def __init__(self):
        super().__init__()
        self.began = threading.Event()

    def pieces(self, text, cancelled):
        if not self.began.is_set():
            self.began.set()
            assert cancelled.wait(TIMEOUT_S), "the voice was not cancelled"
        yield from super().pieces(text, cancelled)


def test_withdrawn_answer_frees_the_voice(speech):
    voice = SlowVoice()
    talk = Talk(voice=lambda: voice)
    talk.hear(speech)
    talk.quiet()
    assert voice.began.wait(TIMEOUT_S)
    talk.hear(speech)
    assert talk.early == {"withdrawn": 1}
    talk.until(lambda: any(isinstance(frame, TurnEnd) for frame in talk.frames))
    assert talk.spoken == SPOKEN


def test_user_who_goes_on_withdraws_it(speech):
    forever = threading.Event()
    talk = Talk(answer=lambda messages: [SPOKEN] if len(talk.asked) > 1 else ["Too early, this one. ", forever])
    talk.hear(speech)
    talk.quiet()
    until(lambda: talk.asked)
    talk.hear(speech)
    assert talk.early == {"withdrawn": 1}
    assert talk.released == []
    assert talk.history == []
    talk.until(lambda: any(isinstance(frame, TurnEnd) for frame in talk.frames))
    (text,) = user_texts(talk)
    assert [asked[-1].text for asked in talk.asked] == [f"{len(speech)} heard", text]
    assert text != f"{len(speech)} heard"
    assert talk.history == [("user", text), ("assistant", SPOKEN)]
    assert talk.spoken == SPOKEN
    talk.session.close()


@pytest.mark.parametrize("most", [0, 1, 2])
def test_number_of_prepared_answers_of_a_turn_is_bounded(speech, most):
    talk = Talk(early=most)
    for pauses in range(1, 4):
        talk.hear(speech)
        talk.quiet()
        talk.until_asked(min(pauses, most))
    talk.hear(speech)
    assert talk.early.get("withdrawn", 0) == most
    talk.until(lambda: talk.spoken == SPOKEN)
    assert len(talk.asked) == most + 1
    assert talk.early.get("used", 0) == 0
    talk.session.close()


def test_audio_that_was_not_recognized_at_the_end_is_waited_for(speech):
    talk = Talk()
    talk.hear(speech)
    talk.quiet()
    until(lambda: talk.asked)
    talk.recognizer.unread = HEARD_HZ  # a recognizer that is behind by more than the silence
    talk.until(lambda: talk.spoken == SPOKEN)
    assert talk.early == {"withdrawn": 1}
    assert len(talk.asked) == 2
    assert len(talk.history) == 2
    talk.session.close()


def test_client_that_interrupts_withdraws_it(speech):
    talk = Talk()
    talk.hear(speech)
    talk.quiet()
    until(lambda: talk.asked)
    talk.session.interrupt(7)
    assert talk.early == {"withdrawn": 1}
    assert talk.history == []
    talk.until(lambda: talk.spoken == SPOKEN)
    assert {frame.turn_id for frame in talk.frames if isinstance(frame, AudioOutput)} == {7}
    talk.session.close()


def test_history_that_changes_withdraws_it(speech):
    talk = Talk(answer=lambda messages: [SPOKEN * 8])
    talk.hear(speech)
    talk.quiet()
    until(lambda: talk.asked)
    talk.until(lambda: talk.spoken)
    talk.hear(speech)  # interrupts the answer
    assert any(isinstance(frame, Interrupt) for frame in talk.frames)
    asked = len(talk.asked)
    talk.quiet()
    until(lambda: len(talk.asked) > asked)
    talk.session.set_played(0, 0)  # nothing was played after all
    talk.quiet()
    until(lambda: len(talk.asked) > asked + 1)
    assert [message.role for message in talk.asked[-1]] == ["user"]
    assert talk.early == {"used": 1, "withdrawn": 1}
    talk.session.close()


def test_with_tools_no_answer_is_prepared(speech):
    talk = Talk(tools=({"type": "function"},), call_tool=lambda call: "")
    talk.hear(speech)
    talk.quiet()
    assert talk.session._early._early is None
    talk.until(lambda: talk.spoken == SPOKEN)
    assert talk.early == {}
    talk.session.close()


@pytest.mark.parametrize("is_one_chunk", [True, False])
def test_turns_given_by_the_client_release_it(speech, is_one_chunk):
    talk = Talk(turns="given")
    talk.hear(speech[:SIZE], TurnSignal("speech"))
    talk.hear(speech[SIZE:])
    talk.quiet()
    until(lambda: talk.asked)
    talk.quiet(6)  # silence alone decides nothing
    assert talk.released == []
    assert talk.history == []
    quiet, over, answer = np.zeros(SIZE, np.float32), TurnSignal("turn", 0, len(speech)), TurnSignal("answer")
    if is_one_chunk:
        talk.hear(quiet, over, answer)
    else:
        talk.hear(quiet, over)
        talk.hear(quiet, answer)
    talk.until(lambda: any(isinstance(frame, TurnEnd) for frame in talk.frames))
    assert talk.spoken == SPOKEN
    assert talk.history == [("user", f"{len(speech)} heard"), ("assistant", SPOKEN)]
    assert len(talk.asked) == 1
    assert talk.early == {"used": 1}
    talk.session.close()


def test_turn_that_the_client_does_not_let_answer_withdraws_it(speech):
    talk = Talk(turns="given")
    talk.hear(speech[:SIZE], TurnSignal("speech"))
    talk.hear(speech[SIZE:])
    talk.quiet()
    until(lambda: talk.asked)
    talk.hear(np.zeros(SIZE, np.float32), TurnSignal("turn", 0, len(speech)))
    talk.quiet(3)
    assert [frame.text for frame in talk.released] == [f"{len(speech)} heard"]  # the text of the user alone
    assert talk.history == [("user", f"{len(speech)} heard")]
    assert talk.early == {"withdrawn": 1}
    talk.session.close()
