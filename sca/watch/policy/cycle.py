"""One cycle in progress: its text on the way through the gates, its times, and what it still waits for."""

from dataclasses import dataclass

from sca.watch.engines.base import AudioPiece, WatchRequest
from sca.watch.events import CycleTimings
from sca.watch.policy.repeats import RepeatGate
from sca.watch.policy.silence import SilenceGate

__all__ = ["ActiveCycle", "Released"]

_US = 1_000_000
_CHARS_PER_TOKEN = 6
"""More than in English text, so that only engines that ignore the limit are cut off."""


@dataclass(frozen=True, slots=True)
class Released:
    """What of an answer may be shown and spoken now.

    Attributes:
        text: The characters.
        about_us: `VideoFrame.time_us` of the picture that they are about.
    """

    text: str
    about_us: int


class ActiveCycle:
    """A cycle in progress.

    Args:
        request: The request.
        last_answer: What must not be repeated.
        start_us: When it began.

    Attributes:
        text: What was released so far.
        first_text_us: When the first of it was.
        text_us: When the last of it was.
        first_audio_us: When the first audio was known.
        offset_us: How much later than its picture that is played.
        progress_us: When something arrived last.
        answered: Whether the answer is complete.
        said: Whether its speech is complete.
        held_audio: Audio of the engine that arrived before its text was released.
    """

    def __init__(self, request: WatchRequest, last_answer: str, start_us: int) -> None:
        self.request, self.start_us = request, start_us
        self._silence, self._repeats = SilenceGate(), RepeatGate(last_answer)
        self._about_us: int | None = None
        self._chars = 0
        self.text = ""
        self.first_text_us: int | None = None
        self.text_us: int | None = None
        self.first_audio_us: int | None = None
        self.offset_us: int | None = None
        self.progress_us = start_us
        self.answered, self.said = False, True
        self.held_audio: list[AudioPiece] = []

    @property
    def number(self) -> int:
        """The number of the cycle."""
        return self.request.cycle

    @property
    def about_us(self) -> int:
        """`VideoFrame.time_us` of the first picture that the answer is about."""
        return self.request.frames[-1].time_us if self._about_us is None else self._about_us

    @property
    def seen_us(self) -> int:
        """When that picture was captured, on the clock of the session."""
        last = self.request.frames[-1]
        return last.at_us - max(0, last.time_us - self.about_us)

    @property
    def is_open(self) -> bool:
        """Whether text was released."""
        return self._silence.is_open and self._repeats.is_open

    @property
    def is_full(self) -> bool:
        """Whether the answer is longer than it may be."""
        return self._chars > self.request.max_tokens * _CHARS_PER_TOKEN

    @property
    def is_repeat(self) -> bool:
        """Whether there was text, and all of it repeats the last answer."""
        return self._silence.is_open and not self._repeats.is_open

    def push(self, text: str, about_us: int | None, now_us: int) -> Released | None:
        """Add characters of the answer."""
        self._chars += len(text)
        if self._about_us is None:
            self._about_us = about_us
        return self._release(self._repeats.push(self._silence.push(text)), about_us, now_us)

    def flush(self, now_us: int) -> Released | None:
        """End the text of the answer."""
        rest = self._repeats.push(self._silence.flush()) + self._repeats.flush()
        return self._release(rest.rstrip(), None, now_us)

    def _release(self, text: str, about_us: int | None, now_us: int) -> Released | None:
        if not self.text:
            text = text.lstrip()
        if not text:
            return None
        if self.first_text_us is None:
            self.first_text_us = now_us
        self.text += text
        self.text_us = now_us
        return Released(text, self.about_us if about_us is None else about_us)

    def end_to_end_us(self) -> int | None:
        """Return the time from the picture to the first audio, or to the first text without audio."""
        known_us = self.first_text_us if self.first_audio_us is None else self.first_audio_us
        return None if known_us is None else known_us - self.seen_us

    def timings(self) -> CycleTimings:
        """Return the times of the cycle so far."""

        def since(start_us: int, end_us: int | None) -> float | None:
            return None if end_us is None else (end_us - start_us) / _US

        return CycleTimings(
            first_text_s=since(self.start_us, self.first_text_us),
            text_s=since(self.start_us, self.text_us),
            first_audio_s=since(self.start_us, self.first_audio_us),
            end_to_end_s=since(0, self.end_to_end_us()),
            offset_s=since(0, self.offset_us),
        )
