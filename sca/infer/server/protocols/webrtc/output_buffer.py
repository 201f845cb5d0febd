"""What the track of a call plays: which responses, from when to when, and how much of them was played when it is cleared.

Nothing here waits or plays audio. Times are ticks of `sca.infer.clock`.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Literal

from sca.infer.clock import TICKS_PER_MS, TICKS_PER_SPOKEN_SAMPLE
from sca.infer.session.played import PlayoutLog

__all__ = ["BufferEvent", "CutResponse", "OutputAudioBuffer"]


@dataclass(frozen=True, slots=True)
class BufferEvent:
    """A response begins to be played, or was played to its end."""

    kind: Literal["started", "stopped"]
    response_id: str


@dataclass(frozen=True, slots=True)
class CutResponse:
    """A response whose audio was discarded.

    Attributes:
        response_id: The response.
        item_id: Its message.
        has_started: Whether any of it was played.
        played_ms: How much of it was played.
    """

    response_id: str
    item_id: str
    has_started: bool
    played_ms: int


@dataclass(slots=True)
class _QueuedResponse:
    response_id: str
    item_id: str
    start: int
    end: int
    samples: int = 0
    has_started: bool = False
    log: PlayoutLog = field(default_factory=PlayoutLog)


class OutputAudioBuffer:
    """The responses whose audio is queued or played."""

    def __init__(self) -> None:
        self._responses: deque[_QueuedResponse] = deque()

    def __bool__(self) -> bool:
        return bool(self._responses)

    def add(self, response_id: str, item_id: str, start: int, samples: int) -> None:
        """Add a piece of audio.

        Args:
            response_id: Its response.
            item_id: The message of the response.
            start: The tick at which its first sample is played.
            samples: Its length at 24 kHz.
        """
        if not self._responses or self._responses[-1].response_id != response_id:
            self._responses.append(_QueuedResponse(response_id, item_id, start, start))
        last = self._responses[-1]
        last.samples += samples
        last.end = start + samples * TICKS_PER_SPOKEN_SAMPLE
        last.log.add(0, start, samples)

    def advance(self, now: int, current_id: str | None) -> list[BufferEvent]:
        """Return what has happened up to a time, in order.

        Args:
            now: The time.
            current_id: The response in progress, more of which may follow; None without one.
        """
        events = []
        while self._responses:
            first = self._responses[0]
            if not first.has_started and now >= first.start:
                first.has_started = True
                events.append(BufferEvent("started", first.response_id))
            if now < first.end or first.response_id == current_id:
                break
            events.append(BufferEvent("stopped", first.response_id))
            self._responses.popleft()
        return events

    def next_tick(self, current_id: str | None) -> int | None:
        """Return when `advance` has the next event; None if that is unknown."""
        if not self._responses:
            return None
        first = self._responses[0]
        if not first.has_started:
            return first.start
        return None if first.response_id == current_id else first.end

    def clear(self, now: int, unplayed_samples: int) -> list[CutResponse]:
        """Discard all audio, and return what was played of each response.

        Args:
            now: The time.
            unplayed_samples: How many samples at 24 kHz were still queued. More than the times imply if the track was
                read late.
        """
        cut = deque[CutResponse]()
        while self._responses:
            last = self._responses.pop()
            rest = min(unplayed_samples, last.samples)
            unplayed_samples -= rest
            played = min(last.log.cut(0, now).samples, last.samples - rest)
            cut.appendleft(CutResponse(last.response_id, last.item_id, last.has_started, _ms(played)))
        return list(cut)


def _ms(samples: int) -> int:
    return samples * TICKS_PER_SPOKEN_SAMPLE // TICKS_PER_MS
