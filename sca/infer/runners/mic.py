"""A session on a microphone and a loudspeaker: opens the devices, keeps them open, and reports the status.

`MicrophoneSource` and `LoudspeakerSink` are the source and the sink of the session, `ReconnectingDevice` reopens a
device that failed, and `EchoFilter` removes the output from the input. Devices run at their own sample rate and number
of channels.
"""

import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypedDict

import anyio
import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from sca.config import Settings
from sca.errors import ScaError, check_target
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
from sca.infer.session.recorder import Recorder, Transcript
from sca.infer.session.report import TimingReport, TurnTimes, timing_report, write_report
from sca.units import HEARD_HZ

__all__ = ["ListenerFactory", "MicOptions", "MicReport", "MicSessionHandle", "MicStatus", "choose_echo_mode", "run_mic"]

_DRIVER_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class MicOptions:
    """The devices of a session, and what to record.

    Attributes:
        input_device: An index or a name; None is the default device.
        output_device: An index or a name; None is the default device.
        backend: The name of the audio backend.
        echo: The echo treatment; None chooses it by the output device.
        buffer_ms: The length of the driver's output buffer.
        seconds: End the session after this much input.
        record: See `sca live`.
        transcript: See `sca live`.
        timing: See `sca live`.
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
    """The current state of a session. Levels are RMS in [0, 1]; latencies are in ms, None before the first answer."""

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
    muted: bool = False


class MicSessionHandle:
    """Controls a running session.

    Attributes:
        interrupt: Interrupts the current answer.
        stop: Ends the session.
        status: Returns the current state.
        toggle_mute: Mutes or unmutes the microphone: the session then hears silence.
    """

    def __init__(self, session: LiveSession, status: Callable[[], MicStatus], toggle_mute: Callable[[], None]) -> None:
        self.toggle_mute = toggle_mute
        self.interrupt = session.interrupt
        self.stop = session.stop
        self.status = status


class InputReport(TypedDict):
    """An input device in `timing.json`, with the counters of `CaptureStats`."""

    name: str
    rate_hz: int
    reopened: int
    callbacks: int
    dropped: int
    non_finite: int
    clipped: int


class OutputReport(TypedDict):
    """An output device in `timing.json`, with the counters of `PlaybackStats`."""

    name: str
    rate_hz: int
    reopened: int
    callbacks: int
    underruns: int
    lost: int


class DevicesReport(TypedDict):
    """The audio devices of a session in `timing.json`."""

    backend: str
    system: str
    echo: str
    input: InputReport
    output: OutputReport


class MicReport(TimingReport):
    """The contents of `timing.json` of a session on audio devices."""

    devices: DevicesReport


ListenerFactory = Callable[[MicSessionHandle], AbstractContextManager[SessionListener]]
"""Makes a listener that is attached for the duration of its context."""


def choose_echo_mode(mode: EchoMode | None, output: AudioDevice) -> EchoMode:
    """Return the echo mode for an output device.

    Args:
        mode: The requested mode, which takes precedence.
        output: The output device.

    Returns:
        "none" for headphones; for a loudspeaker "cancel" if its package is installed, else "gate".
    """
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
) -> tuple[MicReport, bool]:
    """Run a session until `MicSessionHandle.stop`, a signal or `options.seconds` ends it.

    Args:
        engine: The engine.
        settings: Grid, prompt, delays and buffer sizes.
        options: Devices and recordings.
        notify: Receives messages for the user, `ready` when the microphone delivers audio.
        make_listener: Makes a listener for the duration of the session.

    Returns:
        The contents of `timing.json`, and whether a signal ended the session.

    Raises:
        ScaError: A device cannot be opened (see `ReconnectingDevice.open`), or the session fails.
    """
    return anyio.run(_MicSession(engine, settings, options, notify, make_listener).run)


class _MicSession:
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

    async def run(self) -> tuple[MicReport, bool]:
        options, clock, drivers = self._options, LoopClock(), ThreadWorker("sound")
        backend = load_backend(options.backend)
        async with drivers.job(backend.devices) as job:
            if not await job.wait(_DRIVER_TIMEOUT_S):
                job.abandoned = True
                raise ScaError("the sound system does not respond: its devices cannot be listed")
            devices = job.result()
        output = select_device(devices, "output", options.output_device)
        select_device(devices, "input", options.input_device)
        self._echo = choose_echo_mode(options.echo, output)
        suppressor = create_echo_suppressor(self._echo)
        self._filter = None if suppressor is None else EchoFilter(suppressor)
        self._loudspeaker = LoudspeakerSink(
            clock, self._settings.live, buffer_ms=options.buffer_ms, keep_reference=self._filter is not None
        )
        self._microphone = _AnnouncingSource(clock, self._without_echo if self._filter is not None else None)
        self._output = ReconnectingDevice(
            backend, "output", options.output_device, self._loudspeaker,
            lambda device: backend.open_output(device, self._loudspeaker.fill, options.buffer_ms), drivers, self._notify,
        )  # fmt: skip
        self._input = ReconnectingDevice(
            backend, "input", options.input_device, self._microphone,
            lambda device: backend.open_input(device, self._microphone.on_samples), drivers, self._notify,
        )  # fmt: skip
        try:
            await self._output.open(devices)
            await self._input.open(devices)
            self._microphone.on_first_block = self._announce_ready
            return await self._converse(clock), self._signalled
        finally:
            await self._input.close()
            await self._output.close()
            drivers.close()

    def _without_echo(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        assert self._filter is not None
        self._filter.push_reference(self._loudspeaker.take_reference(), self._loudspeaker.rate_hz)
        return self._filter.process(samples)

    def _announce_ready(self) -> None:
        assert self._input.device is not None
        assert self._output.device is not None
        self._notify(
            f"ready: listens on {self._input.device.name}, speaks on {self._output.device.name}, echo {self._echo}"
        )
        if self._echo != "none":
            self._notify("headphones avoid the echo: with them, use --echo none")

    async def _converse(self, clock: LoopClock) -> MicReport:
        options, live, turns = self._options, self._settings.live, TurnTimes()
        config = SessionConfig(grid=self._settings.grid, prompt=self._settings.duplex.system_prompt)
        if options.timing is not None:
            check_target(options.timing)
        worker = ThreadWorker(self._engine.info.device)
        with ExitStack() as opened:
            opened.callback(worker.close)
            listeners: list[SessionListener] = [turns, self._loudspeaker]
            if options.transcript is not None:
                listeners.append(opened.enter_context(Transcript(options.transcript)))
            if options.record is not None:
                listeners.append(opened.enter_context(Recorder(options.record, with_text=live.record_text)))
            session = LiveSession(
                self._engine, self._microphone, self._loudspeaker,
                clock=clock, worker=worker, config=config, live=live, listeners=listeners,
            )  # fmt: skip
            if self._make_listener is not None:
                handle = MicSessionHandle(session, lambda: self._status(session), self._microphone.toggle_mute)
                listeners.append(opened.enter_context(self._make_listener(handle)))
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._input.keep_open, name="microphone")
                tasks.start_soon(self._output.keep_open, name="loudspeaker")
                tasks.start_soon(self._wait_for_end, session, name="end")
                await session.run()
                tasks.cancel_scope.cancel()
            timing = timing_report(self._engine.info, config, session.stats, turns)
            report: MicReport = {**timing, "devices": self._devices()}
            if options.timing is not None:
                write_report(options.timing, report)
            return report

    async def _wait_for_end(self, session: LiveSession) -> None:
        """Stop the session after its time or by a signal. A second signal ends it immediately."""
        async with _signals() as received, anyio.create_task_group() as tasks:
            if self._options.seconds is not None:
                tasks.start_soon(self._stop_after, session, self._options.seconds)
            async for _ in received:
                if self._signalled:
                    raise KeyboardInterrupt
                self._signalled = True
                session.stop()

    async def _stop_after(self, session: LiveSession, seconds: float) -> None:
        while session.stats.heard_samples < seconds * HEARD_HZ:
            await anyio.sleep(0.02)
        session.stop()

    def _devices(self) -> DevicesReport:
        assert self._input.device is not None
        assert self._output.device is not None
        captured, played = self._microphone.stats, self._loudspeaker.stats
        return {
            "backend": self._options.backend,
            "system": self._input.device.system,
            "echo": self._echo,
            "input": {
                "name": self._input.device.name,
                "rate_hz": self._input.device.rate_hz,
                "reopened": self._input.reopen_count,
                "callbacks": captured.callbacks,
                "dropped": captured.dropped,
                "non_finite": captured.non_finite,
                "clipped": captured.clipped,
            },
            "output": {
                "name": self._output.device.name,
                "rate_hz": self._output.device.rate_hz,
                "reopened": self._output.reopen_count,
                "callbacks": played.callbacks,
                "underruns": played.underruns,
                "lost": played.lost,
            },
        }

    def _status(self, session: LiveSession) -> MicStatus:
        stats = session.stats
        return MicStatus(
            heard_s=stats.heard_samples / HEARD_HZ,
            input_level=self._microphone.level,
            output_level=self._loudspeaker.level,
            playing=self._loudspeaker.playing,
            interruptions=stats.interruptions,
            latency_p50_ms=stats.latency.percentile_ms(50),
            latency_p95_ms=stats.latency.percentile_ms(95),
            dropped_chunks=stats.dropped,
            lost_samples=self._microphone.stats.dropped,
            underruns=self._loudspeaker.stats.underruns,
            clipped=self._microphone.stats.clipped,
            input_name=self._input.device.name if self._input.device is not None else "",
            output_name=self._output.device.name if self._output.device is not None else "",
            backend=self._options.backend,
            echo=self._echo,
            muted=self._microphone.muted,
        )


class _AnnouncingSource(MicrophoneSource):
    """Calls `on_first_block` when the session gets its first block, and returns silence while it is muted."""

    on_first_block: Callable[[], None] | None = None
    muted = False

    def toggle_mute(self) -> None:
        """Mute or unmute."""
        self.muted = not self.muted

    @override
    async def blocks(self) -> AsyncIterator[AudioBlock]:
        async for block in super().blocks():
            if self.on_first_block is not None:
                self.on_first_block()
                self.on_first_block = None
            yield replace(block, samples=np.zeros_like(block.samples)) if self.muted else block


@asynccontextmanager
async def _signals() -> AsyncIterator[AsyncIterator[signal.Signals]]:
    """Yield a stream of SIGINT and SIGTERM.

    Outside the main thread, where signals cannot be received, it stays empty.
    """
    with ExitStack() as opened:
        received: AsyncIterator[signal.Signals] = _no_signals()
        with suppress(ValueError, RuntimeError):
            received = opened.enter_context(anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM))
        yield received


async def _no_signals() -> AsyncIterator[signal.Signals]:
    await anyio.sleep_forever()
    yield signal.SIGINT
