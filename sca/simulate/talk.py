"""One talk: the live loop in simulated time between an engine and the simulated user, who hears what is played."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from sca.audio.pcm import pcm16_samples
from sca.config import Settings
from sca.errors import UpstreamError
from sca.infer.clock import TICKS_PER_SPOKEN_SAMPLE, Clock, LoopClock, simulate
from sca.infer.device_worker import InlineWorker
from sca.infer.engine import Engine, SessionConfig
from sca.infer.frames import AudioOutput, ControlFrame, ErrorFrame
from sca.infer.interfaces import AudioBlock, AudioSource, BaseListener
from sca.infer.runners.offline_io import TrackSink, paced_blocks
from sca.infer.session.loop import LiveSession
from sca.infer.session.pacing import spoken_length
from sca.infer.session.report import Turn, TurnTimes
from sca.infer.session.track_writer import PcmBuffer, TrackWriter
from sca.simulate.plan import Plan
from sca.simulate.user import BLOCK, Ear, Said, SimulatedUser
from sca.units import SPOKEN_HZ

__all__ = ["AudibleSpeech", "Talk", "hold_talk"]

_AUDIBLE = 0.003
"""Samples above this share of full scale, -50 dBFS, are not silence."""
_JOINED_S = 0.6
"""A pause of the engine that is shorter does not end its speech: engines pause between sentences."""

_JOINED_TURNS_S = 0.1
"""The same, if another turn begins after it: an engine that stops and answers soon has stopped."""


class AudibleSpeech:
    """The segments of a signal that are not silent. Synchronous; the same signal in any pieces gives the same segments.

    Args:
        rate_hz: The rate of the signal.

    Attributes:
        segments: Start and end of each segment in samples. The last one may still grow.
    """

    def __init__(self, rate_hz: int) -> None:
        self._joined = int(_JOINED_S * rate_hz)
        self._joined_turns = int(_JOINED_TURNS_S * rate_hz)
        self._samples = 0
        self._turn_starts: list[int] = []
        self.segments: list[tuple[int, int]] = []

    def begin_turn(self, sample: int) -> None:
        """Note that a turn of the engine begins at `sample`, which was not pushed yet."""
        self._turn_starts.append(sample)

    def push(self, samples: NDArray[np.float32]) -> None:
        """Add the next samples, float32 `(n,)` in [-1, 1]."""
        loud = np.flatnonzero(np.abs(samples) > _AUDIBLE) + self._samples
        self._samples += len(samples)
        if not len(loud):
            return
        first = int(loud[0])
        if self.segments:  # its last sample decides whether it goes on
            first, end = self.segments.pop()
            loud = np.concatenate([[end - 1], loud])
        turns = np.searchsorted(self._turn_starts, loud, "right")
        longest = np.where(np.diff(turns) == 0, self._joined, self._joined_turns)
        for run in np.split(loud, np.flatnonzero(np.diff(loud) > longest) + 1):
            self.segments.append((first if run[0] == loud[0] else int(run[0]), int(run[-1]) + 1))


@dataclass(frozen=True, slots=True)
class Talk:
    """A talk that was held. Times are samples at 16 kHz, unless they are in `turns`.

    Attributes:
        plan: Its plan.
        user: The sound of the user, float32 `(n,)` at 16 kHz.
        engine: What was played of the engine, float32 `(n,)` at 24 kHz, as long as the user.
        said: The sounds of the user.
        speech: The speech of the engine.
        turns: The turns of the engine, in samples at 24 kHz.
        texts: The words of each turn, as the engine gives them.
        unanswered: Whether the user waited for speech of the engine without success.
    """

    plan: Plan
    user: NDArray[np.float32]
    engine: NDArray[np.float32]
    said: tuple[Said, ...]
    speech: tuple[tuple[int, int], ...]
    turns: tuple[Turn, ...]
    texts: dict[int, str]
    unanswered: bool


def hold_talk(plan: Plan, engine: Engine, settings: Settings) -> Talk:
    """Hold a talk in simulated time, in lockstep.

    Args:
        plan: What the user does.
        engine: The engine.
        settings: Grid, prompt and delays.

    Raises:
        ScaError: The engine fails, or reports an error.
    """
    return simulate(_hold, plan, engine, settings)


async def _hold(plan: Plan, engine: Engine, settings: Settings) -> Talk:
    clock, turns, events = LoopClock(), TurnTimes(), _Events()
    sink = _HeardSink(clock, settings)
    user = SimulatedUser(plan, sink)
    session = LiveSession(
        engine,
        _UserSource(user, clock),
        sink,
        clock=clock,
        worker=InlineWorker(settings.live.step_cost_ms),
        config=SessionConfig(plan.name, settings.grid, settings.duplex.system_prompt, pace="lockstep"),
        live=settings.live,
        listeners=[turns, events],
    )
    stats = await session.run()
    if events.error is not None:
        raise UpstreamError(events.error)
    sink.hear()
    return Talk(
        plan,
        user.track,
        sink.samples,
        tuple(user.said),
        tuple((_heard(start), _heard(end)) for start, end in sink.speech.segments),
        tuple(turns.until(spoken_length(stats.heard_samples))),
        events.texts,
        user.unanswered,
    )


def _heard(spoken: int) -> int:
    """Return the sample at 16 kHz of a sample at 24 kHz."""
    return spoken * 2 // 3


class _UserSource(AudioSource):
    can_wait = True

    def __init__(self, user: SimulatedUser, clock: Clock) -> None:
        self._user, self._clock = user, clock

    @override
    def blocks(self) -> AsyncIterator[AudioBlock]:
        return paced_blocks(self._user.blocks(), self._clock, BLOCK)


class _HeardSink(TrackSink, Ear):
    """A track that the user hears while it is played."""

    def __init__(self, clock: Clock, settings: Settings) -> None:
        self._buffer = PcmBuffer()
        self._writer = TrackWriter(self._buffer)
        self._scanned = 0
        self._turn_id: int | None = None
        self.speech = AudibleSpeech(SPOKEN_HZ)
        super().__init__(self._writer, clock, settings.live)

    @property
    def samples(self) -> NDArray[np.float32]:
        return pcm16_samples(bytes(self._buffer.data))

    @override
    async def play(self, frame: AudioOutput) -> int:
        start = await super().play(frame)
        if frame.turn_id != self._turn_id:
            self._turn_id = frame.turn_id
            self.speech.begin_turn(start // TICKS_PER_SPOKEN_SAMPLE)
        return start

    @override
    def speech_until(self, sample: int) -> tuple[int, int] | None:
        # What is played before now cannot change any more: audio is accepted for later, and a flush cuts what is later.
        self._writer.commit(spoken_length(sample))
        self.hear()
        if not self.speech.segments:
            return None
        start, end = self.speech.segments[-1]
        return _heard(start), _heard(end)

    def hear(self) -> None:
        """Find the speech in what was committed since the last call."""
        self.speech.push(pcm16_samples(bytes(self._buffer.data[2 * self._scanned :])))
        self._scanned = self._buffer.samples


class _Events(BaseListener):
    """The texts of the turns, and the first error that did not end the session."""

    def __init__(self) -> None:
        self.texts: dict[int, str] = {}
        self.error: str | None = None

    @override
    def on_output(self, frame: AudioOutput, sample: int) -> None:
        self.texts[frame.turn_id] = self.texts.get(frame.turn_id, "") + frame.text_log

    @override
    def on_control(self, frame: ControlFrame) -> None:
        if isinstance(frame, ErrorFrame) and self.error is None:
            self.error = frame.message
