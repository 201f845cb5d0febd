"""`watch_source` on a microphone: opens the device and keeps it open. Knows no screen."""

from collections.abc import Callable
from dataclasses import dataclass

import anyio

from sca.infer.audio_io.capture import MicrophoneSource
from sca.infer.audio_io.reconnecting import ReconnectingDevice
from sca.infer.audio_io.registry import load_backend
from sca.infer.clock import LoopClock
from sca.infer.device_worker import ThreadWorker
from sca.infer.turn.monitor import Event, TurnMonitor, watch_source

__all__ = ["MicChoice", "watch_mic"]


@dataclass(frozen=True, slots=True)
class MicChoice:
    """device: an index or a name, None for the default.   seconds: end after so long; None goes on until interrupted."""

    device: str | None = None
    backend: str = "miniaudio"
    seconds: float | None = None


def watch_mic(
    watch: TurnMonitor, choice: MicChoice, tell: Callable[[Event], None], notify: Callable[[str], None]
) -> None:
    """Listen, and tell what happens; `notify` gets lines for the user about the device.

    Raises what opening the device raises (see `ReconnectingDevice.open`) and what the judge raises.
    """
    anyio.run(_listen, watch, choice, tell, notify)


async def _listen(
    watch: TurnMonitor, choice: MicChoice, tell: Callable[[Event], None], notify: Callable[[str], None]
) -> None:
    drivers, models = ThreadWorker("sound"), ThreadWorker("turn")
    microphone = MicrophoneSource(LoopClock())
    try:
        backend = load_backend(choice.backend)
        line = ReconnectingDevice(
            backend, "input", choice.device, microphone,
            lambda device: backend.open_input(device, microphone.on_samples), drivers, notify,
        )  # fmt: skip
        device = await line.open()
        notify(f"ready: hears {device.name}; Ctrl-C ends it")
        try:
            with anyio.move_on_after(choice.seconds):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(line.keep_open, name="microphone")
                    await watch_source(microphone, watch, models, tell)
        finally:
            await line.close()
    finally:
        drivers.close()
        models.close()
