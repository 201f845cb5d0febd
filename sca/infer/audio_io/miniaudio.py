"""Audio devices through miniaudio. Its wheel needs no system package: it loads the client library of the sound system if present.

Without any such library miniaudio would silently select its Null backend. The real backends are therefore listed
explicitly, and the absence of all of them is an error.
"""

from collections.abc import Callable, Generator
from types import ModuleType
from typing import TYPE_CHECKING, TypedDict, TypeVar

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from sca.distribution import reinstall
from sca.errors import InputError, MissingToolError, ScaError
from sca.infer.audio_io.base import (
    BLOCK_MS,
    OUTPUT_BUFFER_MS,
    AudioBackend,
    AudioDevice,
    AudioStream,
    Direction,
    InputCallback,
    OutputCallback,
)

if TYPE_CHECKING:
    from miniaudio import CaptureDevice, Devices, PlaybackDevice

__all__ = ["MiniaudioBackend", "opening_error"]

_SYSTEMS = ("WASAPI", "COREAUDIO", "PULSEAUDIO", "ALSA", "JACK")
_NO_SYSTEM = (
    "install a sound system's client library: on Debian and Ubuntu libpulse0 or libasound2 (apt-get install libpulse0)"
)
_NO_SERVER = "start the sound server (PulseAudio or PipeWire with pipewire-pulse), or set PULSE_SERVER to its address"

# The driver's input buffer, in blocks. A large one adds no latency and bridges moments in which this process does not
# run (with the default of 3, 40 ms were lost on a loaded machine). In the output buffer, every block is latency.
_INPUT_PERIODS = 50
_DEFAULT_RATE_HZ = 48_000

Data = TypeVar("Data")
Request = TypeVar("Request")


class _DeviceInfo(TypedDict):
    """The fields used here of a device in `miniaudio.Devices`; `id` is a C pointer."""

    name: str
    id: object
    formats: list[dict[str, int]]


class MiniaudioBackend(AudioBackend):
    """The miniaudio backend.

    Raises:
        MissingToolError: miniaudio is not installed.
    """

    name = "miniaudio"

    def __init__(self) -> None:
        try:
            import miniaudio
        except ImportError as error:
            raise MissingToolError(
                "miniaudio is not installed", hint=f"install the dependencies of sca again: {reinstall()}"
            ) from error
        self._lib: ModuleType = miniaudio
        self._systems = [getattr(miniaudio.Backend, name) for name in _SYSTEMS]
        self._context: Devices | None = None

    @override
    def devices(self) -> list[AudioDevice]:
        try:
            # Kept while handles are in use. A new one each time: a context that has lost its server does not reconnect.
            self._context = context = self._lib.Devices(self._systems)
            found: list[tuple[Direction, _DeviceInfo]] = [("input", info) for info in context.get_captures()]
            found += [("output", info) for info in context.get_playbacks()]
            defaults = self._defaults(context)
        except self._lib.MiniaudioError as error:
            raise self._no_system(error) from error
        if context.backend == "Null":
            raise MissingToolError("no sound system found, only miniaudio's Null backend", hint=_NO_SYSTEM)
        return [
            self._device(i, direction, info, context.backend, defaults) for i, (direction, info) in enumerate(found)
        ]

    def _device(
        self, index: int, direction: Direction, info: _DeviceInfo, system: str, defaults: set[tuple[str, bytes]]
    ) -> AudioDevice:
        formats = info["formats"]
        rate_hz = next((form["samplerate"] for form in formats if form["samplerate"]), 0)
        channels = next((form["channels"] for form in formats if form["channels"]), 0)
        default = (direction, bytes(self._lib.ffi.buffer(info["id"]))) in defaults
        return AudioDevice(index, info["name"], direction, self.name, system, rate_hz, channels, default, info["id"])

    def _defaults(self, context: "Devices") -> set[tuple[str, bytes]]:
        """Return direction and id of the default devices, which miniaudio's Python interface does not provide."""
        ffi, lib = self._lib.ffi, self._lib.lib
        found = set()
        counts = ffi.new("ma_uint32*"), ffi.new("ma_uint32*")
        lists = ffi.new("ma_device_info**"), ffi.new("ma_device_info**")
        lib.ma_context_get_devices(context._context, lists[0], counts[0], lists[1], counts[1])
        for direction, infos, count in zip(("output", "input"), lists, counts, strict=True):
            for i in range(count[0]):
                if infos[0][i].isDefault:
                    found.add((direction, bytes(ffi.buffer(ffi.addressof(infos[0][i].id)))))
        return found

    def _no_system(self, error: Exception) -> ScaError:
        lib = self._lib.lib
        code = error.args[1] if len(error.args) > 1 else None
        if code in (lib.MA_NO_BACKEND, lib.MA_API_NOT_FOUND):
            return MissingToolError("no sound system found: no client library is installed", hint=_NO_SYSTEM)
        detail = "" if code is None else f" (miniaudio error {code})"
        return MissingToolError(f"no sound server responds{detail}", hint=_NO_SERVER)

    @override
    def open_input(self, device: AudioDevice, callback: InputCallback) -> AudioStream:
        channels = device.channels or 1

        def receive() -> Generator[None, bytearray, None]:
            while True:
                data = yield
                samples: NDArray[np.float32] = np.frombuffer(data, np.float32).reshape(-1, channels)
                callback(samples)

        return self._open(device, self._lib.CaptureDevice, "input_format", receive, channels, _INPUT_PERIODS)

    @override
    def open_output(
        self, device: AudioDevice, callback: OutputCallback, buffer_ms: int = OUTPUT_BUFFER_MS
    ) -> AudioStream:
        channels = device.channels or 1
        periods = max(2, buffer_ms // BLOCK_MS)

        def provide() -> Generator[bytes, int, None]:
            frames = yield b""
            while True:
                frames = yield np.repeat(callback(frames), channels).tobytes()

        return self._open(device, self._lib.PlaybackDevice, "output_format", provide, channels, periods)

    def _open(
        self,
        device: AudioDevice,
        device_class: "Callable[..., CaptureDevice | PlaybackDevice]",
        format_option: str,
        callback: Callable[[], Generator[Data, Request, None]],
        channels: int,
        periods: int,
    ) -> "_MiniaudioStream":
        rate_hz = device.rate_hz or _DEFAULT_RATE_HZ
        options = {format_option: self._lib.SampleFormat.FLOAT32, "nchannels": channels, "sample_rate": rate_hz}
        try:
            opened = device_class(
                **options,
                buffersize_msec=BLOCK_MS,
                callback_periods=periods,
                device_id=device.handle,
                backends=[self._lib.Backend[_enum_name(device.system)]],
                app_name="sca",
            )
            stream = _MiniaudioStream(opened, rate_hz, channels)
            generator = callback()
            next(generator)
            opened.start(generator)
        except self._lib.MiniaudioError as error:
            raise opening_error(device, error.args[1] if len(error.args) > 1 else None, self._lib.lib) from error
        return stream


def _enum_name(system: str) -> str:
    return system.replace(" ", "").upper()


class _MiniaudioStream(AudioStream):
    def __init__(self, device: "CaptureDevice | PlaybackDevice", rate_hz: int, channels: int) -> None:
        self.rate_hz, self.channels = rate_hz, channels
        self._device: CaptureDevice | PlaybackDevice | None = device
        self._stopped = False
        device.stop_callback = self._on_stop

    def _on_stop(self) -> None:
        self._stopped = True

    @property
    @override
    def stopped(self) -> bool:
        return self._stopped

    @override
    def close(self) -> None:
        device, self._device = self._device, None
        if device is not None:
            device.close()


def opening_error(device: AudioDevice, code: int | None, lib: ModuleType) -> ScaError:
    """Return the error for a device that cannot be opened.

    Args:
        device: The device.
        code: The result code of miniaudio.
        lib: miniaudio's C library, which defines the codes.
    """
    what = f"the {device.direction} device {device.name!r}"
    if code in (lib.MA_BUSY, lib.MA_ALREADY_IN_USE, lib.MA_SHARE_MODE_NOT_SUPPORTED):
        return InputError(f"{what} is busy: another program uses it", hint="end that program, or choose another device")
    if code == lib.MA_ACCESS_DENIED:
        return InputError(
            f"{what} may not be used: permission denied",
            hint="allow microphone access in the system's privacy settings; on Linux join the group audio",
        )
    if code in (lib.MA_NO_DEVICE, lib.MA_DOES_NOT_EXIST, lib.MA_UNAVAILABLE):
        return InputError(f"{what} is disconnected", hint="connect it again, or choose another one from sca devices")
    if code in (lib.MA_CONNECTION_REFUSED, lib.MA_FAILED_TO_INIT_BACKEND, lib.MA_NO_BACKEND):
        return MissingToolError(f"{what} cannot be opened: no sound server responds", hint=_NO_SERVER)
    return InputError(
        f"{what} cannot be opened (miniaudio error {code})",
        hint="check whether another program uses it, and the list of sca devices",
    )
