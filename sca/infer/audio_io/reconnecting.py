"""One audio device that is kept open: detects that it has failed, and reopens it when it is available again.

Drivers differ in how they report a disconnected device, and some do not report it, so a missing callback counts as a
failure.
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

_POLL_S = 0.25
_CALLBACK_TIMEOUT_S = 2.0
_FIRST_CALLBACK_TIMEOUT_S = 5.0  # a virtual source that was idle can start up to 2 s late
_FIRST_BACK_OFF_S = 0.5
_LONGEST_BACK_OFF_S = 5.0
_DRIVER_TIMEOUT_S = 10.0
_DEFAULT_RATE_HZ = 48_000


class DeviceEndpoint(Protocol):
    """The consumer or producer of a device's samples: `MicrophoneSource` or `LoudspeakerSink`.

    Attributes:
        last_callback_s: The loop time of the latest callback, None before the first.
    """

    last_callback_s: float | None

    def on_open(self, rate_hz: int) -> None:
        """Called before a device with this rate starts."""
        ...


class ReconnectingDevice:
    """A microphone or loudspeaker. Driver calls run in `worker`, never on the event loop.

    Args:
        backend: The backend.
        direction: Input or output.
        requested: The device; see `select_device`.
        endpoint: The other end of the stream.
        start_stream: Starts streaming between a device and the endpoint.
        worker: Runs the calls of the driver.
        notify: Receives messages for the user.

    Attributes:
        device: The device in use, or the last one.
        reopen_count: How often the device was reopened.
    """

    def __init__(
        self,
        backend: AudioBackend,
        direction: Direction,
        requested: str | None,
        endpoint: DeviceEndpoint,
        start_stream: Callable[[AudioDevice], AudioStream],
        worker: DeviceWorker,
        notify: Callable[[str], None],
    ) -> None:
        self._backend, self._direction, self._requested = backend, direction, requested
        self._endpoint, self._start_stream, self._worker, self._notify = endpoint, start_stream, worker, notify
        self._stream: AudioStream | None = None
        self._opened_s = 0.0
        self.device: AudioDevice | None = None
        self.reopen_count = 0

    async def open(self, devices: list[AudioDevice] | None = None) -> AudioDevice:
        """Open the device.

        Args:
            devices: The available devices; None asks the backend.

        Raises:
            ScaError: What `select_device` and the backend raise, or the driver does not respond.
        """
        found = await self._call_driver(self._backend.devices) if devices is None else devices
        device = select_device(found, self._direction, self._requested)
        self._endpoint.on_open(device.rate_hz or _DEFAULT_RATE_HZ)
        self._opened_s = anyio.current_time()
        self._stream = await self._call_driver(partial(self._start_stream, device))
        self.device = device
        return self.device

    async def _call_driver(self, work: Callable[[], T]) -> T:
        async with self._worker.job(work) as job:
            if not await job.wait(_DRIVER_TIMEOUT_S):
                job.abandoned = True
                raise ScaError(f"the sound system does not respond: the {self._direction} device cannot be opened")
            return job.result()

    async def keep_open(self) -> None:
        """Reopen the device whenever it has failed, until cancelled."""
        while True:
            await anyio.sleep(_POLL_S)
            if self._alive():
                continue
            self._notify(f"the {self._direction} device {self._name} is disconnected; waiting for it")
            await self.close()
            await self._reopen()
            self.reopen_count += 1
            self._notify(f"the {self._direction} device {self._name} is connected again")

    @property
    def _name(self) -> str:
        return self.device.name if self.device is not None else "?"

    def _alive(self) -> bool:
        if self._stream is None or self._stream.stopped:
            return False
        now_s, last_s = anyio.current_time(), self._endpoint.last_callback_s
        if last_s is None or last_s < self._opened_s:
            return now_s - self._opened_s < _FIRST_CALLBACK_TIMEOUT_S
        return now_s - last_s < _CALLBACK_TIMEOUT_S

    async def _reopen(self) -> None:
        back_off_s = _FIRST_BACK_OFF_S
        while True:
            await anyio.sleep(back_off_s)
            back_off_s = min(2 * back_off_s, _LONGEST_BACK_OFF_S)
            try:
                await self.open()
            except ScaError:
                continue
            while self._alive() and (self._endpoint.last_callback_s or 0.0) < self._opened_s:
                await anyio.sleep(_POLL_S / 5)
            if self._alive():
                return
            await self.close()

    async def close(self) -> None:
        """Release the device. A second call has no effect."""
        stream, self._stream = self._stream, None
        if stream is None:
            return
        with anyio.CancelScope(shield=True):
            async with self._worker.job(stream.close) as job:
                # A driver without its server may never return; its thread is abandoned.
                job.abandoned = not await job.wait(_CALLBACK_TIMEOUT_S)
