"""A live session on a microphone and a loudspeaker: opens the devices, keeps them open, and says how it is going.

Puts together what is elsewhere: `MicrophoneSource` and `LoudspeakerSink` are the loop's source and sink, `ReconnectingDevice` keeps a device alive,
`EchoFilter` keeps the answer out of the ear. Devices run at their own rate and channels.
"""

import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import anyio

from sca.config import Settings
from sca.errors import check_target
from sca.infer.audio_io.base import OUTPUT_BUFFER_MS, AudioDevice, is_headphones, select_device
from sca.infer.audio_io.capture import MicrophoneSource
from sca.infer.audio_io.echo import EchoFilter, EchoMode, can_cancel, create_echo_suppressor
from sca.infer.audio_io.output import LoudspeakerSink
from sca.infer.audio_io.reconnecting import ReconnectingDevice
from sca.infer.audio_io.registry import load_backend
from sca.infer.clock import LoopClock
from sca.infer.device_worker import ThreadWorker
from sca.infer.engine import Engine, SessionConfig
from sca.infer.interfaces import AudioBlock, SessionListener
from sca.infer.session.loop import LiveSession
from sca.infer.session.recorder import Recorder, Transcript, TurnTimes, timing_report, write_timing_report

__all__ = ["MicOptions", "MicSessionHandle", "MicStatus", "choose_echo_mode", "run_mic"]


@dataclass(frozen=True, slots=True)
class MicOptions:
    """Which devices, and what to keep.

    input_device, output_device: an index or a name, None for the default.   echo: None chooses by the loudspeaker.
    buffer_ms: play-out in the driver's hands.   seconds: end after so much was heard.   record, transcript, timing: see `sca live`.
    """

    input_device: str | None = None
    output_device: str | None = None
    backend: str = "miniaudio"
    echo: EchoMode | None = None
    buffer_ms: int = OUTPUT_BUFFER_MS
    seconds: float | None = None
    record: Path | None = None
    transcript: Path | None = None
    timing: Path | None = None


@dataclass(frozen=True, slots=True)
class MicStatus:
    """How a session is doing. Levels are RMS in [0, 1]; latencies in ms, None before the first answer."""

    heard_s: float
    input_level: float
    output_level: float
    playing: bool
    interruptions: int
    latency_p50_ms: float | None
    latency_p95_ms: float | None
    dropped_chunks: int
    lost_samples: int
    underruns: int
    clipped: int
    input_name: str
    output_name: str
    backend: str
    echo: str


class MicSessionHandle:
    """What a person who watches can do."""

    def __init__(self, session: LiveSession, status: Callable[[], MicStatus]) -> None:
        self.interrupt = session.interrupt
        self.stop = session.stop
        self.status = status


ListenerFactory = Callable[[MicSessionHandle], AbstractContextManager[SessionListener]]


def choose_echo_mode(mode: EchoMode | None, output: AudioDevice) -> EchoMode:
    """The mode asked for; else none for headphones, for a loudspeaker cancel when it is installed and gate when not."""
    if mode is not None:
        return mode
    if is_headphones(output):
        return "none"
    return "cancel" if can_cancel() else "gate"


def run_mic(
    engine: Engine,
    settings: Settings,
    options: MicOptions,
    *,
    notify: Callable[[str], None],
    make_listener: ListenerFactory | None = None,
) -> tuple[dict[str, Any], bool]:
    """Talk until `MicSessionHandle.stop`, a signal or `options.seconds`.

    Returns what `timing.json` holds, and whether a signal ended it.

    notify: gets lines for the user, `ready` once the microphone gives sound.   make_listener: makes a listener of the
    session, for as long as it lasts.
    Raises what opening the devices raises (see `ReconnectingDevice.open`), and what ends a session.
    """
    return anyio.run(_Mic(engine, settings, options, notify, make_listener).run)


class _Mic:
    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        options: MicOptions,
        notify: Callable[[str], None],
        make_listener: ListenerFactory | None,
    ) -> None:
        self._engine, self._settings, self._options = engine, settings, options
        self._notify, self._make_listener = notify, make_listener
        self._signalled = False

    async def run(self) -> tuple[dict[str, Any], bool]:
        options, clock, drivers = self._options, LoopClock(), ThreadWorker("sound")
        backend = load_backend(options.backend)
        async with drivers.job(backend.devices) as job:
            await job.wait(10.0)
            devices = job.result()
        output = select_device(devices, "output", options.output_device)
        select_device(devices, "input", options.input_device)
        self._echo = choose_echo_mode(options.echo, output)
        treatment = create_echo_suppressor(self._echo)
        self._filter = None if treatment is None else EchoFilter(treatment)
        self._speaker = LoudspeakerSink(
            clock, self._settings.live, buffer_ms=options.buffer_ms, keep_reference=self._filter is not None
        )
        self._microphone = _Announcing(clock, self._without_echo if self._filter is not None else None)
        self._out = ReconnectingDevice(
            backend, "output", options.output_device, self._speaker,
            lambda device: backend.open_output(device, self._speaker.fill, options.buffer_ms), drivers, self._notify,
        )  # fmt: skip
        self._in = ReconnectingDevice(
            backend, "input", options.input_device, self._microphone,
            lambda device: backend.open_input(device, self._microphone.on_samples), drivers, self._notify,
        )  # fmt: skip
        try:
            await self._out.open(devices)
            await self._in.open(devices)
            self._microphone.on_first = self._ready
            return await self._talk(clock), self._signalled
        finally:
            await self._in.close()
            await self._out.close()
            drivers.close()

    def _without_echo(self, heard: Any) -> Any:
        assert self._filter is not None
        self._filter.push_reference(self._speaker.take_reference(), self._speaker.rate_hz)
        return self._filter.process(heard)

    def _ready(self) -> None:
        assert self._in.device is not None
        assert self._out.device is not None
        self._notify(f"ready: hears {self._in.device.name}, speaks on {self._out.device.name}, echo {self._echo}")
        if self._echo != "none":
            self._notify("with headphones it works better: there is no echo, then say --echo none")

    async def _talk(self, clock: LoopClock) -> dict[str, Any]:
        options, live, turns = self._options, self._settings.live, TurnTimes()
        config = SessionConfig(grid=self._settings.grid, prompt=self._settings.duplex.system_prompt)
        if options.timing is not None:
            check_target(options.timing)
        worker = ThreadWorker(self._engine.info.device)
        with ExitStack() as opened:
            opened.callback(worker.close)
            listeners: list[SessionListener] = [turns, self._speaker]
            if options.transcript is not None:
                listeners.append(opened.enter_context(Transcript(options.transcript)))
            if options.record is not None:
                listeners.append(opened.enter_context(Recorder(options.record, with_text=live.record_text)))
            session = LiveSession(
                self._engine, self._microphone, self._speaker,
                clock=clock, worker=worker, config=config, live=live, listeners=listeners,
            )  # fmt: skip
            if self._make_listener is not None:
                control = MicSessionHandle(session, lambda: self._status(session))
                listeners.append(opened.enter_context(self._make_listener(control)))
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._in.keep_open, name="microphone")
                tasks.start_soon(self._out.keep_open, name="loudspeaker")
                tasks.start_soon(self._until, session, name="end")
                await session.run()
                tasks.cancel_scope.cancel()
            document = timing_report(self._engine.info, config, session.stats, turns) | {"devices": self._devices()}
            if options.timing is not None:
                write_timing_report(options.timing, document)
            return document

    async def _until(self, session: LiveSession) -> None:
        """End the session at its time, or by a signal; a second signal ends it at once."""
        async with _signals() as received, anyio.create_task_group() as tasks:
            if self._options.seconds is not None:
                tasks.start_soon(self._until_heard, session, self._options.seconds)
            async for _ in received:
                if self._signalled:
                    raise KeyboardInterrupt
                self._signalled = True
                session.stop()

    async def _until_heard(self, session: LiveSession, seconds: float) -> None:
        while session.stats.heard_samples < seconds * 16_000:
            await anyio.sleep(0.02)
        session.stop()

    def _devices(self) -> dict[str, Any]:
        assert self._in.device is not None
        assert self._out.device is not None
        return {
            "backend": self._options.backend,
            "system": self._in.device.system,
            "echo": self._echo,
            "input": {
                "name": self._in.device.name,
                "rate_hz": self._in.device.rate_hz,
                "reopened": self._in.reopen_count,
            }
            | asdict(self._microphone.stats),
            "output": {
                "name": self._out.device.name,
                "rate_hz": self._out.device.rate_hz,
                "reopened": self._out.reopen_count,
            }
            | asdict(self._speaker.stats),
        }

    def _status(self, session: LiveSession) -> MicStatus:
        stats = session.stats
        return MicStatus(
            heard_s=stats.heard_samples / 16_000,
            input_level=self._microphone.level,
            output_level=self._speaker.level,
            playing=self._speaker.playing,
            interruptions=stats.interruptions,
            latency_p50_ms=stats.latency.percentile_ms(50),
            latency_p95_ms=stats.latency.percentile_ms(95),
            dropped_chunks=stats.dropped,
            lost_samples=self._microphone.stats.dropped,
            underruns=self._speaker.stats.underruns,
            clipped=self._microphone.stats.clipped,
            input_name=self._in.device.name if self._in.device is not None else "",
            output_name=self._out.device.name if self._out.device is not None else "",
            backend=self._options.backend,
            echo=self._echo,
        )


class _Announcing(MicrophoneSource):
    """Calls `on_first` when the session gets its first block."""

    on_first: Callable[[], None] | None = None

    async def blocks(self) -> AsyncIterator[AudioBlock]:
        """See `Source`."""
        async for block in super().blocks():
            if self.on_first is not None:
                self.on_first()
                self.on_first = None
            yield block


@asynccontextmanager
async def _signals() -> AsyncIterator[Any]:
    """SIGINT and SIGTERM as they come; outside the main thread, where nobody may catch them, none ever come."""
    with ExitStack() as caught:
        received: Any = _never()
        with suppress(ValueError, RuntimeError):
            received = caught.enter_context(anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM))
        yield received


async def _never() -> AsyncIterator[Literal[0]]:
    await anyio.sleep_forever()
    yield 0
