"""Counters and latency histograms of a session."""

import math
from dataclasses import dataclass, field
from typing import TypedDict

from sca.infer.clock import TICKS_PER_MS

__all__ = ["Histogram", "HistogramSummary", "SessionStats", "StatsSummary"]

_LOG_BUCKET_WIDTH = math.log(1.01)


class HistogramSummary(TypedDict):
    """Percentiles in ms (None without values) and the number of values."""

    p50: float | None
    p95: float | None
    p99: float | None
    max: float | None
    count: int


class Histogram:
    """Durations in ticks, in buckets 1 % wide: percentiles in constant memory.

    Exact at 0, at the minimum and at the maximum.
    """

    def __init__(self) -> None:
        self.count = 0
        self._buckets: dict[int, int] = {}
        self._least = self._most = 0

    def add(self, ticks: int) -> None:
        """Add one duration. A negative duration counts as 0."""
        ticks = max(0, ticks)
        bucket = 0 if ticks == 0 else 1 + int(math.log(ticks) / _LOG_BUCKET_WIDTH)
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1
        self._least = ticks if self.count == 0 else min(self._least, ticks)
        self._most = max(self._most, ticks)
        self.count += 1

    def percentile_ms(self, percent: float) -> float | None:
        """Return the duration in ms, accurate to 1 %, that `percent` of the values do not exceed; None without values."""
        if self.count == 0:
            return None
        rank = max(1, math.ceil(self.count * percent / 100))
        for bucket in sorted(self._buckets):
            rank -= self._buckets[bucket]
            if rank <= 0:
                ticks = 0.0 if bucket == 0 else math.exp(bucket * _LOG_BUCKET_WIDTH)
                return round(min(max(ticks, self._least), self._most) / TICKS_PER_MS, 3)
        raise AssertionError("the buckets hold fewer values than were counted")

    def summary(self) -> HistogramSummary:
        """Return the percentiles for reports."""
        return {
            "p50": self.percentile_ms(50),
            "p95": self.percentile_ms(95),
            "p99": self.percentile_ms(99),
            "max": self.percentile_ms(100),
            "count": self.count,
        }


class StatsSummary(TypedDict):
    """`SessionStats` for JSON. Histograms are in ms."""

    chunks_in: int
    stepped: int
    chunks_out: int
    dropped: int
    late: int
    lags: int
    stale: int
    interruptions: int
    heard_samples: int
    said_samples: int
    said_non_finite: int
    non_finite: int
    clipped: int
    latency_ms: HistogramSummary
    step_ms: HistogramSummary
    overhead_ms: HistogramSummary


@dataclass(slots=True)
class SessionStats:
    """The counters of a session.

    Attributes:
        chunks_in: Input chunks, including dropped ones.
        stepped: Chunks that the engine has stepped.
        chunks_out: Frames of audio accepted by the sink.
        dropped: Chunks dropped because of a backlog.
        late: Stepped chunks with frames that came more than one chunk length after the end of the chunk.
        lags: `Lag` frames.
        stale: Frames of audio of interrupted turns, which were not played.
        interruptions: Interrupted turns.
        heard_samples: Input samples at 16 kHz.
        said_samples: Output samples at 24 kHz accepted by the sink.
        said_non_finite: Output samples that the engine computed as NaN or infinite, and that are silence in their place.
        non_finite: Input samples that were NaN or infinite and were replaced by 0.
        clipped: Input samples at or beyond full scale.
        latency: Mouth to ear: from the last sample of an input chunk to the time at which the sink accepts the first
            sample of the answer to it.
        step: Time in the engine.
        overhead: From the end of a chunk to the time at which its frames have been processed, without the time in the
            engine.
    """

    chunks_in: int = 0
    stepped: int = 0
    chunks_out: int = 0
    dropped: int = 0
    late: int = 0
    lags: int = 0
    stale: int = 0
    interruptions: int = 0
    heard_samples: int = 0
    said_samples: int = 0
    said_non_finite: int = 0
    non_finite: int = 0
    clipped: int = 0
    latency: Histogram = field(default_factory=Histogram)
    step: Histogram = field(default_factory=Histogram)
    overhead: Histogram = field(default_factory=Histogram)

    def summary(self) -> StatsSummary:
        """Return all counters for JSON."""
        return {
            "chunks_in": self.chunks_in,
            "stepped": self.stepped,
            "chunks_out": self.chunks_out,
            "dropped": self.dropped,
            "late": self.late,
            "lags": self.lags,
            "stale": self.stale,
            "interruptions": self.interruptions,
            "heard_samples": self.heard_samples,
            "said_samples": self.said_samples,
            "said_non_finite": self.said_non_finite,
            "non_finite": self.non_finite,
            "clipped": self.clipped,
            "latency_ms": self.latency.summary(),
            "step_ms": self.step.summary(),
            "overhead_ms": self.overhead.summary(),
        }
