"""The live server's numbers for Prometheus, in a registry of their own, and `GET /metrics`, `GET /v1/models`."""

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sca.errors import MissingToolError
from sca.infer.frames import AudioOutput, ControlFrame, Frame, Interrupt, Lag
from sca.infer.interfaces import BaseListener
from sca.infer.server.ws.session_slots import SessionRegistry

if TYPE_CHECKING:
    from fastapi import FastAPI

    from sca.infer.server.app import ServerContext

__all__ = ["LiveMetrics", "Meter", "add"]

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.32, 0.5, 1, 2.5, 5, 10)


class LiveMetrics:
    """Counters and histograms. Raises `MissingToolError` without prometheus-client."""

    def __init__(self, sessions: SessionRegistry) -> None:
        try:
            from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
        except ImportError as error:
            raise MissingToolError("the server needs prometheus-client", hint="pip install 'sca[serve]'") from error
        self.registry = registry = CollectorRegistry()
        Gauge("sca_sessions", "Sessions going on.", registry=registry).set_function(lambda: len(sessions))
        Gauge("sca_sessions_waiting", "Sessions whose connection broke.", registry=registry).set_function(
            lambda: sum(seat.waiting for seat in sessions)
        )
        Gauge("sca_unsent_seconds", "Sound that clients do not take.", registry=registry).set_function(
            lambda: sum(seat.unsent_ms() for seat in sessions) / 1000
        )
        Gauge("sca_kept_bytes", "Sent, and kept until clients acknowledge it.", registry=registry).set_function(
            lambda: sum(seat.kept_bytes() for seat in sessions)
        )
        Gauge("sca_sessions_begun", "Sessions so far.", registry=registry).set_function(lambda: sessions.served)
        Gauge("sca_sessions_refused", "Refused for want of room.", registry=registry).set_function(
            lambda: sessions.refused
        )
        self.refusals = Counter(
            "sca_refusals",
            "Requests and connects refused before they reached an endpoint.",
            ["status"],
            registry=registry,
        )
        self.heard = Counter("sca_chunks_heard", "Chunks heard.", registry=registry)
        self.stepped = Counter("sca_chunks_stepped", "Chunks the engine stepped.", registry=registry)
        self.dropped = Counter("sca_chunks_dropped", "Chunks dropped because a session was behind.", registry=registry)
        self.lags = Counter("sca_lags", "Times a session said that it is behind.", ["reason"], registry=registry)
        self.interruptions = Counter("sca_interruptions", "Answers cut off.", ["by"], registry=registry)
        self.bytes = Counter("sca_sound_bytes", "Sound as PCM16, by direction.", ["direction"], registry=registry)
        self._unheard = Counter(
            "sca_sound_dropped_seconds", "Sound dropped because a client read too slowly.", registry=registry
        )
        self.resumes = Counter(
            "sca_resumes", "Connections that came with a resume token.", ["result"], registry=registry
        )
        self.step_s = Histogram(
            "sca_step_seconds", "Chunk heard to its step done.", buckets=_SECONDS, registry=registry
        )
        self.answer_s = Histogram(
            "sca_answer_seconds", "Chunk heard to sound that answers it sent.", buckets=_SECONDS, registry=registry
        )

    def unheard(self, ms: float) -> None:
        """So much sound was dropped on its way to a client."""
        self._unheard.inc(ms / 1000)

    def text(self) -> bytes:
        """The page that Prometheus reads."""
        from prometheus_client import generate_latest

        page: bytes = generate_latest(self.registry)
        return page


class Meter(BaseListener):
    """A listener that counts one session."""

    def __init__(self, metrics: LiveMetrics) -> None:
        self._metrics = metrics
        self._bytes_in, self._bytes_out = metrics.bytes.labels("in"), metrics.bytes.labels("out")
        self._time_s = asyncio.get_running_loop().time
        self._heard_s: dict[int, float] = {}

    def on_input(self, samples: np.ndarray, chunk_index: int) -> None:
        """See `SessionListener`."""
        self._heard_s[chunk_index] = self._time_s()
        self._metrics.heard.inc()
        self._bytes_in.inc(2 * len(samples))

    def on_step(self, chunk_index: int, frames: Sequence[Frame]) -> None:
        """See `SessionListener`."""
        self._metrics.stepped.inc()
        self._metrics.step_s.observe(self._time_s() - self._heard_s[chunk_index])
        # Sound of the last steps may still be on its way; older chunks are done with.
        for index in [one for one in self._heard_s if one <= chunk_index - 16]:
            del self._heard_s[index]

    def on_output(self, frame: AudioOutput, sample: int) -> None:
        """See `SessionListener`."""
        self._bytes_out.inc(len(frame.audio_bytes))
        heard_s = self._heard_s.get(frame.chunk_index)
        if heard_s is not None:
            self._metrics.answer_s.observe(self._time_s() - heard_s)

    def on_control(self, frame: ControlFrame) -> None:
        """See `SessionListener`."""
        if isinstance(frame, Lag):
            self._metrics.lags.labels(frame.reason).inc()
            self._metrics.dropped.inc(frame.dropped_chunks)
        elif isinstance(frame, Interrupt):
            self._metrics.interruptions.labels(frame.by).inc()


def add(app: "FastAPI", server: "ServerContext") -> None:
    """Add both endpoints."""
    from starlette.responses import Response

    started = int(time.time())

    @app.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        return Response(server.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/v1/models")
    async def models() -> dict[str, object]:
        name = server.engine.info.name
        return {"object": "list", "data": [{"id": name, "object": "model", "created": started, "owned_by": "sca"}]}
