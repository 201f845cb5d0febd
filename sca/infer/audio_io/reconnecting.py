"""One direction of sound kept alive: opens a device, notices when it falls silent, and opens it again when it comes back.

Drivers differ in what they say when a device is pulled out, some say nothing; so the sign of life is the callback itself.
"""

from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeVar

import anyio

from sca.errors import ScaError
from sca.infer.audio_io.base import AudioBackend, AudioDevice, AudioStream, Direction, select_device
from sca.infer.device_worker import DeviceWorker

__all__ = ["DeviceEndpoint", "ReconnectingDevice"]

T = TypeVar("T")

_LOOK_EVERY_S = 0.25
_SILENT_S = 2.0
_FIRST_SOUND_S = 5.0  # a virtual source nobody has read from for a while begins up to 2 s late
_FIRST_BACK_OFF_S = 0.5
_LONGEST_BACK_OFF_S = 5.0
_OPENING_S = 10.0


class DeviceEndpoint(Protocol):
    """What is behind a device: `Microphone` or `Speaker`."""

    last_callback_s: float | None

    def on_open(self, rate_hz: int) -> None:
        """A device at this rate is about to start."""
        ...


class ReconnectingDevice:
    """A microphone or loudspeaker, by its name or the default one. Driver calls run in `worker`, never on the event loop.

    start: begins streaming from a device into the end, or out of it.   notify: gets a line for the user.   device: the one in use,
    or last used.   reopened: how often it had to be opened again.
    """

    def __init__(
        self,
        backend: AudioBackend,
        direction: Direction,
        wanted: str | None,
        end: DeviceEndpoint,
        start: Callable[[AudioDevice], AudioStream],
        worker: DeviceWorker,
        notify: Callable[[str], None],
    ) -> None:
        self._backend, self._direction, self._wanted = backend, direction, wanted
        self._end, self._start, self._worker, self._notify = end, start, worker, notify
        self._stream: AudioStream | None = None
        self._opened_s = 0.0
        self.device: AudioDevice | None = None
        self.reopen_count = 0

    async def open(self, devices: list[AudioDevice] | None = None) -> AudioDevice:
        """Open it. Raises what `select_device` and the backend raise, and `ScaError` when the driver does not answer."""

        found = await self._driver(self._backend.devices) if devices is None else devices
        device = select_device(found, self._direction, self._wanted)
        self._end.on_open(device.rate_hz or 48_000)
        self._opened_s = anyio.current_time()
        self._stream = await self._driver(partial(self._start, device))
        self.device = device
        return self.device

    async def _driver(self, work: Callable[[], T]) -> T:
        async with self._worker.job(work) as job:
            if not await job.wait(_OPENING_S):
                job.abandoned = True
                raise ScaError(f"the sound system does not answer: the {self._direction} device cannot be opened")
            result: T = job.result()
            return result

    async def keep_open(self) -> None:
        """Run while the session does: reopen the device whenever it is gone, for as long as it takes."""
        while True:
            await anyio.sleep(_LOOK_EVERY_S)
            if self._alive():
                continue
            name = self.device.name if self.device is not None else "?"
            self._notify(f"the {self._direction} device {name} is gone; the session waits for it")
            await self.close()
            await self._reopen()
            self.reopen_count += 1
            name = self.device.name if self.device is not None else "?"
            self._notify(f"the {self._direction} device {name} is back")

    def _alive(self) -> bool:
        if self._stream is None or self._stream.stopped:
            return False
        now_s, last_callback_s = anyio.current_time(), self._end.last_callback_s
        if last_callback_s is None or last_callback_s < self._opened_s:
            return now_s - self._opened_s < _FIRST_SOUND_S
        return now_s - last_callback_s < _SILENT_S

    async def _reopen(self) -> None:
        back_off_s = _FIRST_BACK_OFF_S
        while True:
            await anyio.sleep(back_off_s)
            back_off_s = min(2 * back_off_s, _LONGEST_BACK_OFF_S)
            try:
                await self.open()
            except ScaError:
                continue
            while self._alive() and (self._end.last_callback_s or 0.0) < self._opened_s:
                await anyio.sleep(_LOOK_EVERY_S / 5)
            if self._alive():
                return
            await self.close()

    async def close(self) -> None:
        """Let go of the device. Twice is fine."""
        stream, self._stream = self._stream, None
        if stream is None:
            return
        with anyio.CancelScope(shield=True):
            async with self._worker.job(stream.close) as job:
                # A driver whose server died may never return; it is left behind.
                job.abandoned = not await job.wait(_SILENT_S)
