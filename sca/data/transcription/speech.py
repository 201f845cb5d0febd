"""The speech of a recording: where the VAD finds it, the windows that are decoded, and times mapped back.

The spans and their margins are those of faster-whisper's own batched pipeline (faster_whisper/transcribe.py and vad.py,
version 1.2).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sca.units import HEARD_HZ

__all__ = ["Span", "clips", "detect_speech", "find_speech", "pack", "padded", "restore"]

_WINDOW_S = 30.0
_MIN_SILENCE_MS = 160
_PAD_MS = 400
_PAD_SAMPLES = HEARD_HZ * _PAD_MS // 1000

Span = tuple[int, int]


def detect_speech(samples: NDArray[np.float32]) -> list[Span]:
    """Find speech.

    Args:
        samples: float32 mono `(n,)` at 16 kHz.

    Returns:
        Spans `(start, end)` in samples, sorted and disjoint. With their margins they have at most 30 s.
    """
    from faster_whisper.vad import VadOptions, get_speech_timestamps

    if not len(samples):
        return []
    options = VadOptions(
        max_speech_duration_s=_WINDOW_S - 2 * _PAD_MS / 1000, min_silence_duration_ms=_MIN_SILENCE_MS, speech_pad_ms=0
    )
    return [(int(span["start"]), int(span["end"])) for span in get_speech_timestamps(samples, options)]


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


def find_speech(samples: NDArray[np.float32]) -> list[Span]:
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
