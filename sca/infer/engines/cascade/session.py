"""A session of the engine `cascade`: one conversation, stepped on the grid."""

import time
from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from sca.config import LiveConfig
from sca.errors import ScaError
from sca.infer.conversation.answer import Failed, Heard
from sca.infer.conversation.latency import LatencyLog
from sca.infer.conversation.talk import Talk, Turn
from sca.infer.conversation.utterance import Utterance, text_of
from sca.infer.engine import EngineSession, HearsPlayback, SessionConfig, StepGuard
from sca.infer.engines.cascade.early import EarlyAnswers
from sca.infer.engines.cascade.hearing import Hearing
from sca.infer.engines.cascade.written import WrittenAnswers
from sca.infer.engines.turn_taking import TurnSegmenter, TurnUpdate
from sca.infer.frames import (
    AnswerTiming,
    AudioInput,
    AudioOutput,
    ErrorFrame,
    Frame,
    Interrupt,
    Signal,
    TurnEnd,
    UserText,
)
from sca.infer.requests import AddMessage, AnswerRequest, CancelAnswer, Configure, RemoveMessage
from sca.units import HEARD_HZ, SPOKEN_HZ

__all__ = ["CascadeSession"]

_POLL_S = 0.2
_LOCKSTEP_LIMIT_S = 300.0


class CascadeSession(EngineSession, HearsPlayback):
    """One conversation.

    Args:
        talk: History and voice.
        segmenter: Cuts the input into turns.
        config: Grid and pace.
        live: The delay of the output.
        latency: Receives the latency of every answer.

    Attributes:
        talk: History and voice.
        starved: Steps in which the next piece of an answer that had started was not there.
    """

    def __init__(
        self, talk: Talk, segmenter: TurnSegmenter, config: SessionConfig, live: LiveConfig, latency: LatencyLog
    ) -> None:
        self.talk, self._segmenter, self._latency = talk, segmenter, latency
        assert talk.parts.recognizer is not None
        self._recognizer = talk.parts.recognizer
        self._waits = config.pace == "lockstep"
        self._follows = config.turns == "given"
        self._chunk_samples = config.grid.spoken_samples
        self._delay_samples = live.playout_delay_ms * SPOKEN_HZ // 1000
        self._guard = StepGuard(config.grid.heard_samples)
        self._early = EarlyAnswers(talk, 0 if self._waits else live.early_answers, latency)
        self._unheard: list[Utterance] = []  # turns of the user whose text is not known yet
        self._turn: Turn | None = None
        self._written = WrittenAnswers(talk)
        self._start()

    def _start(self) -> None:
        self._hearing = Hearing(self._recognizer)
        self._latest: tuple[int, Turn] | None = None  # the turn that was played last
        self._is_due = False  # whether the user waits for an answer that has not been started
        self._request: AnswerRequest | None = None  # what that answer has of its own
        self._has_news = False  # whether the conversation has texts of the user that are not answered
        self._endpoint_ms = 0.0
        self._turn_id = self.starved = 0

    @override
    def step(self, audio: AudioInput) -> Sequence[Frame]:
        self._guard.check(audio)
        now = audio.timestamp + len(audio.samples)
        frames: list[Frame] = []
        for signal in audio.signals:
            self._obey(signal)
        update = self._segmenter.push(audio)
        was_playing = False
        if self._turn is not None and update.barge_in:
            was_playing = self._turn.spoken.taken_samples > 0
            self._cut(self._turn)
            if was_playing:
                frames.append(Interrupt(self._turn_id, now))
                self._turn_id += 1
        frames += self._hear(audio.sound, update, now)
        # What was played of an interrupted answer is reported before the next step, and the model should know it.
        if self._is_due and self._turn is None and not was_playing:
            self._answer()
        if self._turn is not None:
            frames += self._receive(self._turn, now)
            frames += self._speak(self._turn, audio.chunk_index, now)
        return frames + self._written.receive(now)

    def _obey(self, signal: Signal) -> None:
        """Follow a request of the client. Decisions about turns are for the segmenter."""
        match signal:
            case Configure():
                self._early.withdraw()
                self.talk.configure(signal)
            case AddMessage():
                self.talk.add(signal)
            case RemoveMessage():
                self.talk.remove(signal)
            case CancelAnswer():
                self._written.cancel(signal.id)
            case AnswerRequest(in_conversation=False, is_spoken=False):
                self._written.start(signal, None)
            case AnswerRequest():
                self._request, self._is_due = signal, True

    def _hear(self, samples: NDArray[np.float32], update: TurnUpdate, now: int) -> list[Frame]:
        frames: list[Frame] = []
        try:
            over = self._hearing.push(samples, update)
            words = None if self._waits else self._hearing.partial()
            if not (self._waits or self._is_due or self._turn or update.turn is not None):
                frames += self._finished_texts(now)
            self._prepare(over, update)
        except ScaError as error:
            self._hearing.skip_turn()
            self._early.withdraw()
            return [*frames, ErrorFrame(self._turn_id, now, error.message, fatal=False)]
        self._is_due = self._is_due or (update.turn is not None and bool(self._unheard or self._has_news))
        return [*frames, UserText(words, now, is_final=False)] if words else frames

    def _prepare(self, over: Utterance | None, update: TurnUpdate) -> None:
        """Note a turn that is over, and prepare the answer to the turn in progress."""
        if over is not None:
            self._unheard.append(over)
            self._endpoint_ms = update.silence_samples * 1000 / HEARD_HZ
            self._early.finish(over, update.silence_samples)
        if self._turn is None:
            self._early.follow(self._unheard, self._hearing.open)

    def _finished_texts(self, now: int) -> list[Frame]:
        """Return the texts of turns that are over, while no answer to them is due."""
        frames: list[Frame] = []
        while self._unheard:
            try:
                text = self._unheard[0].poll()
            except ScaError:
                self._unheard.pop(0)
                raise
            if text is None:
                break
            self._unheard.pop(0)
            frames.append(UserText(text, now))
            if text:
                self.talk.history.add_user(text)
                self._has_news = True
        return frames

    def _answer(self) -> None:
        """Start the answer to all speech of the user since the last answer, or to the request of the client."""
        request, self._request, self._is_due = self._request, None, False
        is_beside = request is not None and not request.in_conversation
        hear = partial(text_of, tuple(self._unheard)) if self._unheard and not is_beside else None
        if not is_beside:
            self._has_news = False
        if request is None and (turn := self._early.take(self._unheard)) is not None:
            self._turn = turn
            return
        self._early.withdraw()
        if request is None or request.is_spoken:
            self._turn = self.talk.start(hear, request)
        else:
            self._written.start(request, hear)
            self._unheard.clear()

    def _receive(self, turn: Turn, now: int) -> list[Frame]:
        """Take what the parts have made, until this step has its piece of the answer."""
        frames: list[Frame] = []
        deadline_s = time.monotonic() + _LOCKSTEP_LIMIT_S
        while not turn.done and turn.spoken.waiting_samples <= self._chunk_samples:
            event = self.talk.receive(turn, _POLL_S if self._waits else 0.0)
            match event:
                case None if self._waits and time.monotonic() < deadline_s:
                    continue
                case None:
                    break
                case Heard(text):
                    self._unheard.clear()
                    frames.append(UserText(text, now))
                case Failed(error):
                    self._unheard.clear()
                    frames.append(ErrorFrame(self._turn_id, now, error.message, fatal=False))
        return frames

    def _speak(self, turn: Turn, chunk_index: int, now: int) -> list[Frame]:
        """Return the next chunk of the answer, if it is there."""
        frames: list[Frame] = []
        spoken, size = turn.spoken, self._chunk_samples
        is_first = spoken.taken_samples == 0
        if spoken.waiting_samples > size or (turn.done and not spoken.is_taken):
            pcm, text = spoken.take(size)
            if is_first and pcm:
                frames += self._time(turn, now)
            if pcm or text.strip():  # without sound: a text that the voice cannot speak
                frames.append(AudioOutput(pcm.ljust(2 * size, b"\0"), SPOKEN_HZ, text, chunk_index, self._turn_id))
        elif not is_first and not turn.done:
            self.starved += 1
        if turn.done and spoken.is_taken:
            # A client that requests answers waits for the end of each, also of one without sound.
            ends = bool(frames or spoken.taken_samples or self._follows)
            if ends:
                frames.append(TurnEnd(self._turn_id, now, turn.calls))
            self._latest, self._turn = (self._turn_id, turn), None
            self._turn_id += ends
        return frames

    def _time(self, turn: Turn, now: int) -> list[Frame]:
        """Log the latency of an answer whose first sound is taken now. In lockstep its times mean nothing to a user."""
        times = turn.answer.times
        stages = {"endpoint": self._endpoint_ms, **times.stages_ms()}
        if times.first_sound_s is not None:
            stages["next_step"] = (time.monotonic() - max(times.first_sound_s, times.started_s)) * 1000
        self._latency.add(stages)
        return [] if self._waits else [AnswerTiming(self._turn_id, now, tuple(stages.items()))]

    def _cut(self, turn: Turn) -> None:
        """End an answer. Until the live loop reports what was played, it is what could be played by now."""
        self.talk.cut(turn, max(0, turn.spoken.taken_samples - self._delay_samples))
        self._latest, self._turn = (self._turn_id, turn), None

    @override
    def set_played(self, turn_id: int, samples: int) -> None:
        if self._latest is not None and self._latest[0] == turn_id:
            self._latest[1].spoken.set_played(samples)

    @override
    def interrupt(self, turn_id: int) -> None:
        if self._turn is not None:
            self._cut(self._turn)
        self._early.withdraw()
        self._written.cancel_all(only_in_history=True)
        self._is_due, self._request = False, None
        self._turn_id = max(self._turn_id, turn_id)

    @override
    def reset(self) -> None:
        self._guard.reset()
        self._discard()
        self._segmenter.reset()
        self.talk.restart()
        self._start()

    @override
    def close(self) -> None:
        self._guard.close()
        self._discard()
        self.talk.close()

    def _discard(self) -> None:
        if self._turn is not None:
            self._cut(self._turn)
        self._written.cancel_all()
        self._early.withdraw()
        self._hearing.reset()
        for utterance in self._unheard:
            utterance.close()
        self._unheard.clear()
