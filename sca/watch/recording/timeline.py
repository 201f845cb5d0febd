"""The timeline of a recording: that of the delayed picture, on which speech is in step with what it is about. Pure."""

from collections import deque
from dataclasses import dataclass

from sca.watch.events import CycleEnd, Speech, Text
from sca.watch.frames import JpegFrame

__all__ = ["Timeline", "Utterance"]

_MOST_PICTURES = 4096
_READ_CHARS_PER_S = 15
_LEAST_TITLE_US = 1_500_000


@dataclass(frozen=True, slots=True)
class Utterance:
    """A remark with its place in a recording.

    Attributes:
        cycle: The cycle.
        text: The text.
        about_us: The time of the video that it is about.
        start_us: When it begins, since the first picture: with its speech, or with its picture without a voice.
        end_us: When it ends.
        is_spoken: Whether it was spoken.
    """

    cycle: int
    text: str
    about_us: int
    start_us: int
    end_us: int
    is_spoken: bool


class Timeline:
    """Places pictures and speech. Speech of a cycle is shifted by the delay at its start, as the page delays its pictures.

    Args:
        delay_us: The delay at the start.
    """

    def __init__(self, delay_us: int) -> None:
        self._delay_us = delay_us
        self._zero_us: int | None = None
        self._pictures: deque[tuple[int, int]] = deque(maxlen=_MOST_PICTURES)
        self._cycle, self._shift_us = -1, 0
        self._span: tuple[int, int] | None = None
        self._about_us: int | None = None

    @property
    def delay_us(self) -> int:
        """The delay now."""
        return self._delay_us

    def picture_us(self, picture: JpegFrame) -> int:
        """Return the place of a picture, and remember it."""
        if self._zero_us is None:
            self._zero_us = picture.at_us
        place_us = picture.at_us - self._zero_us
        self._pictures.append((picture.time_us, place_us))
        return place_us

    def shown_us(self, now_us: int) -> int:
        """Return the place of what is shown at a time of the session."""
        return max(0, now_us - self._delay_us - (self._zero_us or 0))

    def text(self, text: Text) -> None:
        """Note what a remark is about."""
        if self._about_us is None:
            self._about_us = text.about_us

    def speech_shift(self, speech: Speech) -> int:
        """Return what to add to the time of speech for its place, and note where it is."""
        if speech.cycle != self._cycle:
            self._cycle, self._span = speech.cycle, None
            self._shift_us = -self._delay_us - (self._zero_us or 0)
        start_us = speech.play_us + self._shift_us
        end_us = start_us + len(speech.samples) * 1_000_000 // speech.sample_rate
        self._span = (start_us if self._span is None else self._span[0], end_us)
        return self._shift_us

    def end(self, end: CycleEnd) -> Utterance | None:
        """Note the end of a cycle, and return its remark; None without one."""
        is_spoken = self._span is not None and self._cycle == end.cycle
        about_us = end.about_us if self._about_us is None else self._about_us
        span, self._span, self._about_us = self._span if is_spoken else None, None, None
        self._delay_us = round(end.delay_s * 1e6)
        if not end.text:
            return None
        if span is None:
            start_us = self._place_of(about_us)
            span = start_us, start_us + max(_LEAST_TITLE_US, len(end.text) * 1_000_000 // _READ_CHARS_PER_S)
        return Utterance(end.cycle, end.text, about_us, max(0, span[0]), span[1], is_spoken)

    def _place_of(self, about_us: int) -> int:
        """Return the place of the last picture that is not after a time of the video."""
        found = [place_us for time_us, place_us in self._pictures if time_us <= about_us]
        return found[-1] if found else 0
