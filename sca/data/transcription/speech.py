"""The speech of a recording: where the VAD finds it, the windows that are decoded, and times mapped back.

The spans and their margins are those of faster-whisper's own batched pipeline (faster_whisper/transcribe.py and vad.py,
version 1.2).
"""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from sca.audio.samples import Samples
from sca.audio.vad import CONTEXT_SAMPLES, FRAME_SAMPLES, SileroVad
from sca.units import HEARD_HZ

__all__ = [
    "JoinedSpeech",
    "Span",
    "SpeechDetector",
    "clips",
    "detect_speech",
    "find_speech",
    "pack",
    "padded",
    "restore",
    "speech_spans",
]

_PAD_SAMPLES = HEARD_HZ * 400 // 1000
_ONSET, _OFFSET = 0.5, float(np.float32(0.35))
_PAUSE_SAMPLES = HEARD_HZ * 160 // 1000
_SHORT_PAUSE_SAMPLES = HEARD_HZ * 98 // 1000
_LONGEST_SAMPLES = 30 * HEARD_HZ - 2 * _PAD_SAMPLES - FRAME_SAMPLES
_BLOCK_SAMPLES = 60 * HEARD_HZ
_WHISPER_STEP = HEARD_HZ // 100

Span = tuple[int, int]


class SpeechDetector:
    """Finds the speech of a recording that is read in blocks of any length.

    The spans are those of faster-whisper's `get_speech_timestamps`, which holds the recording and copies of it in
    memory: 1.5 GB per hour.
    """

    def __init__(self) -> None:
        self._stream = SileroVad().stream()
        self._rest = np.zeros(0, np.float32)
        self._found: list[NDArray[np.float32]] = []
        self._samples = 0

    def push(self, block: NDArray[np.float32]) -> None:
        """Add samples, float32 `(n,)` at 16 kHz."""
        self._samples += len(block)
        held = np.concatenate([self._rest, block])
        # A whole frame stays: the last one of a recording is changed by `finish`.
        whole = max(0, len(held) - 1) // FRAME_SAMPLES * FRAME_SAMPLES
        self._found.append(self._stream.push(held[:whole]))
        self._rest = held[whole:]

    def finish(self) -> list[Span]:
        """Return the spans `(start, end)` of speech in samples, sorted and disjoint.

        With their margins they have at most 30 s.
        """
        if not self._samples:
            return []
        # faster-whisper pads to whole frames, one more if there is none to fill, and clears the context of the last one.
        last = np.zeros((len(self._rest) // FRAME_SAMPLES + 1) * FRAME_SAMPLES, np.float32)
        last[: len(self._rest)] = self._rest
        last[-CONTEXT_SAMPLES:] = 0
        self._found.append(self._stream.push(last))
        return speech_spans(np.concatenate(self._found), self._samples)


def detect_speech(samples: Samples) -> list[Span]:
    """Find speech.

    Args:
        samples: float32 mono `(n,)` at 16 kHz.

    Returns:
        Spans as of `SpeechDetector.finish`.
    """
    detector = SpeechDetector()
    for start in range(0, len(samples), _BLOCK_SAMPLES):
        detector.push(samples[start : start + _BLOCK_SAMPLES])
    return detector.finish()


def speech_spans(probabilities: NDArray[np.float32], total: int) -> list[Span]:
    """Return the spans of speech: `get_speech_timestamps` of faster-whisper (vad.py, 1.2) without margins.

    Speech begins at a probability of 0.5 and ends at a pause of 0.16 s below 0.35. A span that gets too long ends at the
    last pause of 0.098 s in it, or where it is.

    Args:
        probabilities: One for each frame of 512 samples.
        total: The length of the recording, where speech ends at the latest.
    """
    cutter = _SpanCutter()
    for frame, probability in enumerate(probabilities.tolist()):
        cutter.push(frame * FRAME_SAMPLES, probability)
    return [*cutter.spans, *([(cutter.start, total)] if cutter.start is not None else [])]


class _SpanCutter:
    """The state between two frames.

    Attributes:
        spans: The spans that have ended.
        start: Where the current span begins; None during a pause.
    """

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.start: int | None = None
        self._soft: int | None = None  # where the probability fell, which is the end if the pause lasts
        self._pause: int | None = None  # the last pause that is long enough to end a span that is too long
        self._after: int | None = None  # where speech went on after it

    def push(self, at: int, probability: float) -> None:
        """Add the frame at a sample."""
        if probability >= _ONSET and self._soft is not None:
            if self._pause is not None and (self._after is None or self._after < self._pause):
                self._after = at
            self._soft = None
        if self.start is None:
            if probability >= _ONSET:
                self.start = at
            return
        if at - self.start > _LONGEST_SAMPLES and self._cut(at):
            return
        if probability < _OFFSET and self.start is not None:
            self._soften(at)

    def _cut(self, at: int) -> bool:
        """End a span that is too long; return whether the frame is used up."""
        if self._pause is None:
            self._end(at)
            return True
        after = self._after
        self._end(self._pause)
        if after is not None:
            self.start = after
        return False

    def _soften(self, at: int) -> None:
        """Handle a frame that is probably no speech."""
        self._soft = at if self._soft is None else self._soft
        if at - self._soft > _SHORT_PAUSE_SAMPLES:
            self._pause = self._soft
        if at - self._soft >= _PAUSE_SAMPLES:
            self._end(self._soft)

    def _end(self, at: int) -> None:
        assert self.start is not None
        self.spans.append((self.start, at))
        self.start = self._soft = self._pause = self._after = None


def padded(speech: Sequence[Span], total: int) -> list[Span]:
    """Widen spans by 0.4 s on both sides, by half the pause where it is shorter, within `total` samples."""
    widened = [[start, end] for start, end in speech]
    for n, span in enumerate(widened):
        if n == 0:
            span[0] = max(0, span[0] - _PAD_SAMPLES)
        if n + 1 == len(widened):
            span[1] = min(total, span[1] + _PAD_SAMPLES)
            continue
        margin = min((widened[n + 1][0] - span[1]) // 2, _PAD_SAMPLES)
        span[1] += margin
        widened[n + 1][0] -= margin
    return [(start, end) for start, end in widened]


def find_speech(samples: Samples) -> list[Span]:
    """Find what is decoded as speech, as faster-whisper's batched pipeline does.

    Args:
        samples: float32 mono `(n,)` at 16 kHz.

    Returns:
        Spans `(start, end)` of at most 30 s with margins, in samples.
    """
    return padded(detect_speech(samples), len(samples))


def pack(speech: Sequence[Span], max_samples: int) -> list[list[Span]]:
    """Group consecutive spans, each group as large as `max_samples` allows."""
    packed: list[list[Span]] = []
    size = max_samples + 1
    for start, end in speech:
        if size + end - start > max_samples:
            packed.append([])
            size = 0
        packed[-1].append((start, end))
        size += end - start
    return packed


def clips(chunks: Sequence[Sequence[Span]]) -> list[dict[str, float]]:
    """Return the places of the chunks in the joined speech, in seconds as faster-whisper requires."""
    places = []
    at = 0
    for chunk in chunks:
        length = sum(end - start for start, end in chunk)
        # Half a sample is added because faster-whisper rounds down.
        places.append({"start": (at + 0.5) / HEARD_HZ, "end": (at + length + 0.5) / HEARD_HZ})
        at += length
    return places


class JoinedSpeech:
    """The speech of a recording without its pauses, of which parts are read."""

    def __init__(self, samples: Samples, speech: Sequence[Span]) -> None:
        """Join spans of a recording.

        Args:
            samples: float32 mono `(n,)` at 16 kHz.
            speech: The spans, in samples.
        """
        self.speech = speech
        self._samples = samples
        self._starts = [0, *accumulate(end - start for start, end in speech)]

    def between(self, first: int, last: int) -> NDArray[np.float32]:
        """Return the samples `[first, last)` of the joined speech."""
        parts = [np.zeros(0, np.float32)]
        n = bisect_right(self._starts, first) - 1
        while n < len(self.speech) and self._starts[n] < last:
            start, end = self.speech[n]
            low, high = start + max(0, first - self._starts[n]), min(end, start + last - self._starts[n])
            parts.append(self._samples[low:high])
            n += 1
        return np.concatenate(parts)

    def part(self, start_s: float, end_s: float) -> tuple[int, NDArray[np.float32]]:
        """Return a part that begins at a multiple of 10 ms, in which Whisper counts, and its first sample."""
        first = int(start_s * HEARD_HZ) // _WHISPER_STEP * _WHISPER_STEP
        return first, self.between(first, int(end_s * HEARD_HZ))


def restore(start_s: float, end_s: float, speech: Sequence[Span], *, across: bool = False) -> tuple[float, float]:
    """Map times from the joined speech to the recording.

    Args:
        start_s: The start in the joined speech.
        end_s: The end in the joined speech.
        speech: The spans that were joined, in samples at 16 kHz.
        across: Whether the two times may be in different spans, as those of a segment. A word belongs to the span that
            its middle is in, and stays within it.

    Returns:
        The start and the end in the recording.
    """
    lengths = np.asarray([end - start for start, end in speech], np.int64)
    joined = np.concatenate([[0], np.cumsum(lengths)])

    def span_at(time_s: float, side: str) -> int:
        found = int(np.searchsorted(joined, time_s * HEARD_HZ, "right" if side == "right" else "left")) - 1
        return min(max(found, 0), len(lengths) - 1)

    def place(time_s: float, at: int) -> float:
        first, last = speech[at]
        return min(max(time_s + (first - int(joined[at])) / HEARD_HZ, first / HEARD_HZ), last / HEARD_HZ)

    middle = span_at((start_s + end_s) / 2, "right")
    # A time on the border of two spans is the start of the later one, and the end of the earlier one.
    first = min(span_at(start_s, "right"), middle) if across else middle
    last = max(span_at(end_s, "left"), middle) if across else middle
    return place(start_s, first), place(end_s, last)
