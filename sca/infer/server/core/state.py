"""The state of a live server: one engine, its device worker, its sessions and metrics."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
from anyio.abc import TaskGroup

from sca.infer.device_worker import ThreadWorker
from sca.infer.engine import BatchEngine, Engine, SessionConfig
from sca.infer.engines.turn_taking import turn_detector_factory
from sca.infer.server.core.client_secrets import ClientSecrets
from sca.infer.server.core.metrics import LiveMetrics, SessionMeter
from sca.infer.server.core.probes import PROBE_PATHS
from sca.infer.server.core.sessions import SessionRegistry
from sca.infer.session.broadcast import AudioBroadcast
from sca.infer.session.loop import LiveSession
from sca.infer.session.step_batcher import StepBatcher

if TYPE_CHECKING:
    from sca.config import Settings
    from sca.infer.clock import Clock
    from sca.infer.interfaces import AudioSink, AudioSource, SessionListener
    from sca.infer.turn.detector import ModelTurnDetector
    from sca.infer.turn.policy import ThresholdSchedule

__all__ = ["ServerContext", "SignatureCheck"]

SignatureCheck = Callable[[Mapping[str, str]], bool]
"""Returns whether the headers of a request carry a valid signature."""


class ServerContext:
    """What all endpoints share.

    Attributes:
        engine: The engine of all sessions.
        settings: The settings of the process.
        sessions: The open sessions.
        broadcast: The spoken audio of all sessions, for `GET /api/audio-stream`.
        metrics: The Prometheus metrics.
        public_paths: Paths that need no key. An endpoint adds its own paths if they return nothing secret.
        turn_detectors: Makes turn detectors with the model of `live.turn_model`; None without a model.
        signature_checks: The check of each path that accepts a signature instead of the key.
        client_secrets: Keys that expire, for browsers.
        client_secret_paths: Paths that accept a client secret instead of the key.
    """

    def __init__(self, engine: Engine, settings: "Settings") -> None:
        self.engine, self.settings = engine, settings
        self.sessions = SessionRegistry(settings.serve, engine.info.most_sessions)
        self.broadcast = AudioBroadcast(settings.serve.stream_buffer_ms, settings.serve.stream_when_slow)
        self.metrics = LiveMetrics(
            self.sessions, self.broadcast, {"engine": engine.info.name, "device": engine.info.device}
        )
        self.public_paths = set(PROBE_PATHS)
        self.signature_checks: dict[str, SignatureCheck] = {}
        self.client_secrets = ClientSecrets()
        self.client_secret_paths: set[str] = set()
        self.turn_detectors: Callable[[ThresholdSchedule, int], ModelTurnDetector] | None = None
        self._tasks: asyncio.Future[TaskGroup] | None = None
        self._task_host: asyncio.Task[None] | None = None
        self._worker: ThreadWorker | None = None
        self._batcher: StepBatcher | None = None

    def load_turn_model(self) -> None:
        """Load the end-of-turn model of `live.turn_model`, if there is one.

        Raises:
            ScaError: It cannot be loaded.
        """
        self.turn_detectors = turn_detector_factory(self.settings)

    @property
    def worker(self) -> ThreadWorker:
        """The thread of the engine's device, which all sessions share.

        It is started on first use, on the event loop.
        """
        if self._worker is None:
            self._worker = ThreadWorker(self.engine.info.device)
        return self._worker

    @property
    def batcher(self) -> StepBatcher | None:
        """The batcher that steps all sessions together; None if the engine cannot step a batch."""
        if self._batcher is None and isinstance(self.engine, BatchEngine):
            wait_s = self.settings.live.batch_wait_ms / 1000 if self.engine.info.benefits_from_batching else 0.0
            self._batcher = StepBatcher(self.engine, self.worker, wait_s)
        return self._batcher

    def new_session(
        self,
        source: "AudioSource",
        sink: "AudioSink",
        clock: "Clock",
        config: SessionConfig,
        listeners: Sequence["SessionListener"] = (),
    ) -> LiveSession:
        """Create a session of the engine, which the caller runs.

        Args:
            source: The audio of the client.
            sink: Receives the audio of the engine.
            clock: The clock of source and sink.
            config: The grid and the prompt.
            listeners: Session listeners besides the one that updates the metrics.

        Returns:
            The session. In lockstep it has a thread of its own, because its steps wait.
        """
        waits = config.pace == "lockstep"
        return LiveSession(
            self.engine,
            source,
            sink,
            clock=clock,
            worker=None if waits else self.worker,
            config=config,
            live=self.settings.live,
            listeners=[SessionMeter(self.metrics), *listeners],
            batcher=None if waits else self.batcher,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Cancel the tasks of `start_task` and close after the block."""
        try:
            yield
        finally:
            if self._task_host is not None:
                self._task_host.cancel()
                await asyncio.wait([self._task_host])
            self.close()

    async def start_task(self, function: Callable[..., Coroutine[object, object, object]], *args: object) -> object:
        """Start a task that outlives its request, as `TaskGroup.start`. It may begin before `running`.

        Args:
            function: Reports its start to its argument `task_status`. Later exceptions must not leave it.
            *args: Its other arguments.

        Returns:
            What it reported.
        """
        if self._tasks is None:
            self._tasks = asyncio.get_running_loop().create_future()
            self._task_host = asyncio.create_task(self._host_tasks(self._tasks))
        tasks = await asyncio.shield(self._tasks)
        reported: object = await tasks.start(function, *args)
        return reported

    async def _host_tasks(self, opened: "asyncio.Future[TaskGroup]") -> None:
        async with anyio.create_task_group() as tasks:
            opened.set_result(tasks)
            await anyio.sleep_forever()

    def close(self) -> None:
        """Stop the device's thread."""
        if self._worker is not None:
            self._worker.close()
