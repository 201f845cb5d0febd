"""Monitors the speaker at a microphone."""

from collections.abc import Callable
from dataclasses import dataclass

import anyio

from sca.infer.audio_io.capture import MicrophoneSource
from sca.infer.audio_io.reconnecting import ReconnectingDevice
from sca.infer.audio_io.registry import load_backend
from sca.infer.clock import LoopClock
from sca.infer.device_worker import ThreadWorker
from sca.infer.turn.monitor import TurnEvent, TurnMonitor, monitor_source

__all__ = ["MicrophoneOptions", "monitor_microphone"]


@dataclass(frozen=True, slots=True)
class MicrophoneOptions:
    """Which microphone is used, and for how long.

    Attributes:
        device: An index or a name; None for the default device.
        backend: The audio backend.
        seconds: The duration; None for no limit.
    """

    device: str | None = None
    backend: str = "miniaudio"
    seconds: float | None = None


def monitor_microphone(
    monitor: TurnMonitor,
    options: MicrophoneOptions,
    on_event: Callable[[TurnEvent], None],
    on_notice: Callable[[str], None],
) -> None:
    """Run a monitor on a microphone.

    Args:
        monitor: The monitor.
        options: The microphone.
        on_event: Called with every event.
        on_notice: Called with lines for the user about the device.

    Raises:
        ScaError: The device cannot be opened, or the predictor failed.
    """
    anyio.run(_run, monitor, options, on_event, on_notice)


async def _run(
    monitor: TurnMonitor,
    options: MicrophoneOptions,
    on_event: Callable[[TurnEvent], None],
    on_notice: Callable[[str], None],
) -> None:
    drivers, models = ThreadWorker("sound"), ThreadWorker("turn")
    microphone = MicrophoneSource(LoopClock())
    try:
        backend = load_backend(options.backend)
        reconnecting = ReconnectingDevice(
            backend,
            "input",
            options.device,
            microphone,
            lambda device: backend.open_input(device, microphone.on_samples),
            drivers,
            on_notice,
        )
        device = await reconnecting.open()
        on_notice(f"ready: listening to {device.name}; Ctrl-C ends it")
        try:
            with anyio.move_on_after(options.seconds):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(reconnecting.keep_open, name="microphone")
                    await monitor_source(microphone, monitor, models, on_event)
        finally:
            await reconnecting.close()
    finally:
        drivers.close()
        models.close()
