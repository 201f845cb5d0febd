"""The Prometheus metrics of the live server, in a registry of their own."""

import asyncio
from collections.abc import Mapping, Sequence

import numpy as np
from typing_extensions import override

from sca.distribution import install_extra
from sca.errors import MissingToolError
from sca.infer.frames import AudioOutput, ControlFrame, Frame, Interrupt, Lag
from sca.infer.interfaces import BaseListener
from sca.infer.server.core.metrics_process import add_process_metrics, page
from sca.infer.server.core.sessions import SessionRegistry
from sca.infer.session.broadcast import STREAM_HZ, AudioBroadcast

__all__ = ["LiveMetrics", "SessionMeter"]

_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.32, 0.5, 1, 2.5, 5, 10)
_REMEMBERED_CHUNKS = 16  # arrival times that are kept behind the latest step, for audio that is still on its way


class LiveMetrics:
    """Gauges over the session registry, and counters and histograms that sessions update.

    Raises:
        MissingToolError: prometheus-client is not installed.
    """

    def __init__(
        self, sessions: SessionRegistry, broadcast: AudioBroadcast, build: Mapping[str, str] | None = None
    ) -> None:
        """Create the metrics.

        Args:
            sessions: The sessions of the server.
            broadcast: The audio streams of the server.
            build: The labels of `sca_build_info`, besides the version of sca.
        """
        try:
            from prometheus_client import CollectorRegistry, Counter, Histogram
        except ImportError as error:
            raise MissingToolError("the server needs prometheus-client", hint=install_extra("serve")) from error
        self.registry = registry = CollectorRegistry()
        add_process_metrics(registry, build or {})
        self._add_gauges(sessions, broadcast)
        self.rejections = Counter(
            "sca_refusals",
            "Requests and connections rejected before they reached an endpoint.",
            ["status"],
            registry=registry,
        )
        self.heard = Counter("sca_chunks_heard", "Chunks received.", registry=registry)
        self.stepped = Counter("sca_chunks_stepped", "Chunks stepped by the engine.", registry=registry)
        self.dropped = Counter("sca_chunks_dropped", "Chunks dropped because a session lagged.", registry=registry)
        self.lags = Counter("sca_lags", "Lag events.", ["reason"], registry=registry)
        self.interruptions = Counter("sca_interruptions", "Interrupted responses.", ["by"], registry=registry)
        self.bytes = Counter("sca_sound_bytes", "Audio as PCM16, by direction.", ["direction"], registry=registry)
        self.non_finite = Counter(
            "sca_sound_non_finite_samples",
            "Output samples that the engine computed as NaN or infinite, and that are silence.",
            registry=registry,
        )
        self._unsent = Counter(
            "sca_sound_dropped_seconds", "Audio dropped because a client read too slowly.", registry=registry
        )
        self.resumes = Counter("sca_resumes", "Connections with a resume token.", ["result"], registry=registry)
        self.step_s = Histogram(
            "sca_step_seconds", "From a chunk's arrival to the end of its step.", buckets=_BUCKETS_S, registry=registry
        )
        self.answer_s = Histogram(
            "sca_answer_seconds",
            "From a chunk's arrival to sending the audio that responds to it.",
            buckets=_BUCKETS_S,
            registry=registry,
        )

    def _add_gauges(self, sessions: SessionRegistry, broadcast: AudioBroadcast) -> None:
        from prometheus_client import Gauge

        for name, text, value in (
            ("sca_sessions", "Open sessions.", lambda: len(sessions)),
            (
                "sca_sessions_waiting",
                "Sessions with a broken connection.",
                lambda: sum(slot.disconnected for slot in sessions),
            ),
            (
                "sca_unsent_seconds",
                "Audio waiting in send queues.",
                lambda: sum(slot.unsent_ms() for slot in sessions) / 1000,
            ),
            (
                "sca_kept_bytes",
                "Messages kept until clients acknowledge them.",
                lambda: sum(slot.unacknowledged_bytes() for slot in sessions),
            ),
            ("sca_stream_subscribers", "Open audio streams.", lambda: len(broadcast)),
            (
                "sca_stream_dropped_seconds",
                "Audio that slow subscribers of audio streams did not get.",
                lambda: broadcast.stats.dropped_samples / STREAM_HZ,
            ),
            (
                "sca_stream_closed",
                "Audio streams that were closed because their subscribers were slow.",
                lambda: broadcast.stats.closed_subscribers,
            ),
            ("sca_sessions_begun", "Sessions started so far.", lambda: sessions.started),
            ("sca_sessions_refused", "Sessions rejected at the session limit.", lambda: sessions.rejected),
        ):
            Gauge(name, text, registry=self.registry).set_function(value)

    def count_dropped_audio(self, ms: float) -> None:
        """Count audio that was dropped because a client read too slowly."""
        self._unsent.inc(ms / 1000)

    def text(self) -> bytes:
        """Return all metrics in the Prometheus text format."""
        return page(self.registry)


class SessionMeter(BaseListener):
    """A session listener that updates the metrics for one session."""

    def __init__(self, metrics: LiveMetrics) -> None:
        self._metrics = metrics
        self._bytes_in, self._bytes_out = metrics.bytes.labels("in"), metrics.bytes.labels("out")
        self._time_s = asyncio.get_running_loop().time
        self._heard_s: dict[int, float] = {}

    @override
    def on_input(self, samples: np.ndarray, chunk_index: int) -> None:
        self._heard_s[chunk_index] = self._time_s()
        self._metrics.heard.inc()
        self._bytes_in.inc(2 * len(samples))

    @override
    def on_step(self, chunk_index: int, frames: Sequence[Frame]) -> None:
        self._metrics.stepped.inc()
        self._metrics.non_finite.inc(sum(frame.non_finite for frame in frames if isinstance(frame, AudioOutput)))
        self._metrics.step_s.observe(self._time_s() - self._heard_s[chunk_index])
        for index in [index for index in self._heard_s if index <= chunk_index - _REMEMBERED_CHUNKS]:
            del self._heard_s[index]

    @override
    def on_output(self, frame: AudioOutput, sample: int) -> None:
        self._bytes_out.inc(len(frame.audio_bytes))
        heard_s = self._heard_s.get(frame.chunk_index)
        if heard_s is not None:
            self._metrics.answer_s.observe(self._time_s() - heard_s)

    @override
    def on_control(self, frame: ControlFrame) -> None:
        if isinstance(frame, Lag):
            self._metrics.lags.labels(frame.reason).inc()
            self._metrics.dropped.inc(frame.dropped_chunks)
        elif isinstance(frame, Interrupt):
            self._metrics.interruptions.labels(frame.by).inc()
