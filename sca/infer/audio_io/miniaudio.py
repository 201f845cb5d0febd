"""Devices through miniaudio, whose wheel needs no system package: it loads the sound system's own library when there is one.

Without any it would quietly play to nobody (its Null backend), so the real ones are named, and none is an error.
"""

from collections.abc import Callable, Generator
from typing import Any

import numpy as np

from sca.errors import InputError, MissingToolError, ScaError
from sca.infer.audio_io.base import BLOCK_MS, OUTPUT_BUFFER_MS, AudioDevice, Direction, InputCallback, OutputCallback

__all__ = ["MiniaudioBackend", "opening_error"]

_SYSTEMS = ("WASAPI", "COREAUDIO", "PULSEAUDIO", "ALSA", "JACK")
_NO_SYSTEM = (
    "install a sound system's client library: on Debian and Ubuntu libpulse0 or libasound2 (apt-get install libpulse0)"
)
_NO_SERVER = "start the sound server (PulseAudio or PipeWire with pipewire-pulse), or set PULSE_SERVER to where it is"

# The driver's buffer, in blocks. On the way in a large one costs no latency and bridges moments in which this process does not run
# (with miniaudio's 3, 40 ms were lost on a loaded machine); on the way out every block is latency.
_INPUT_PERIODS = 50


class MiniaudioBackend:
    """See `sca.infer.audio_io.base.AudioBackend`."""

    name = "miniaudio"

    def __init__(self) -> None:
        try:
            import miniaudio
        except ImportError as error:
            raise MissingToolError(
                "miniaudio is not installed", hint="reinstall sca's dependencies: uv sync"
            ) from error
        self._lib: Any = miniaudio
        self._systems = [getattr(miniaudio.Backend, name) for name in _SYSTEMS]
        self._context: Any = None

    def devices(self) -> list[AudioDevice]:
        """See `AudioBackend`."""
        try:
            # Held while handles are in use. Made anew each time: one that lost its server does not find it again.
            self._context = self._lib.Devices(self._systems)
            found: list[tuple[Direction, dict[str, Any]]] = [("input", info) for info in self._context.get_captures()]
            found += [("output", info) for info in self._context.get_playbacks()]
            defaults = self._defaults()
        except self._lib.MiniaudioError as error:
            raise self._no_system(error) from error
        if self._context.backend == "Null":
            raise MissingToolError("there is no sound system here, only miniaudio's Null backend", hint=_NO_SYSTEM)
        return [self._device(i, direction, info, defaults) for i, (direction, info) in enumerate(found)]

    def _device(
        self, index: int, direction: Direction, info: dict[str, Any], defaults: set[tuple[str, bytes]]
    ) -> AudioDevice:
        formats = info["formats"]
        rate_hz = next((form["samplerate"] for form in formats if form["samplerate"]), 0)
        channels = next((form["channels"] for form in formats if form["channels"]), 0)
        system = self._context.backend
        default = (direction, bytes(self._lib.ffi.buffer(info["id"]))) in defaults
        return AudioDevice(index, info["name"], direction, self.name, system, rate_hz, channels, default, info["id"])

    def _defaults(self) -> set[tuple[str, bytes]]:
        """Direction and id of the default devices; miniaudio knows them and its Python side does not pass them on."""
        ffi, lib = self._lib.ffi, self._lib.lib
        found = set()
        counts = ffi.new("ma_uint32*"), ffi.new("ma_uint32*")
        lists = ffi.new("ma_device_info**"), ffi.new("ma_device_info**")
        lib.ma_context_get_devices(self._context._context, lists[0], counts[0], lists[1], counts[1])
        for direction, infos, count in zip(("output", "input"), lists, counts, strict=True):
            for i in range(count[0]):
                if infos[0][i].isDefault:
                    found.add((direction, bytes(ffi.buffer(ffi.addressof(infos[0][i].id)))))
        return found

    def _no_system(self, error: Exception) -> ScaError:
        lib = self._lib.lib
        code = error.args[1] if len(error.args) > 1 else None
        if code in (lib.MA_NO_BACKEND, lib.MA_API_NOT_FOUND):
            return MissingToolError("there is no sound system here: no client library was found", hint=_NO_SYSTEM)
        return MissingToolError(
            "no sound server answers" + ("" if code is None else f" (miniaudio error {code})"), hint=_NO_SERVER
        )

    def open_input(self, device: AudioDevice, take: InputCallback) -> "_MiniaudioStream":
        """See `AudioBackend`."""
        channels = device.channels or 1

        def heard() -> Generator[None, bytearray, None]:
            while True:
                data = yield
                take(np.frombuffer(data, np.float32).reshape(-1, channels))

        return self._open(device, self._lib.CaptureDevice, "input_format", heard, channels, _INPUT_PERIODS)

    def open_output(
        self, device: AudioDevice, fill: OutputCallback, buffer_ms: int = OUTPUT_BUFFER_MS
    ) -> "_MiniaudioStream":
        """See `AudioBackend`."""
        channels = device.channels or 1

        def said() -> Generator[bytes, int, None]:
            frames = yield b""
            while True:
                frames = yield np.repeat(fill(frames), channels).tobytes()

        return self._open(
            device, self._lib.PlaybackDevice, "output_format", said, channels, max(2, buffer_ms // BLOCK_MS)
        )

    def _open(
        self,
        device: AudioDevice,
        kind: Any,
        format_option: str,
        callback: Callable[[], Any],
        channels: int,
        periods: int,
    ) -> "_MiniaudioStream":
        rate_hz = device.rate_hz or 48_000
        options = {format_option: self._lib.SampleFormat.FLOAT32, "nchannels": channels, "sample_rate": rate_hz}
        try:
            opened = kind(
                **options,
                buffersize_msec=BLOCK_MS,
                callback_periods=periods,
                device_id=device.handle,
                backends=[self._lib.Backend[_enum_name(device.system)]],
                app_name="sca",
            )
            stream = _MiniaudioStream(opened, rate_hz, channels)
            running = callback()
            next(running)
            opened.start(running)
        except self._lib.MiniaudioError as error:
            raise opening_error(device, error.args[1] if len(error.args) > 1 else None, self._lib.lib) from error
        return stream


def _enum_name(system: str) -> str:
    return system.replace(" ", "").upper()


class _MiniaudioStream:
    """See `sca.infer.audio_io.base.AudioStream`."""

    def __init__(self, device: Any, rate_hz: int, channels: int) -> None:
        self.rate_hz, self.channels = rate_hz, channels
        self._device: Any = device
        self._stopped = False
        device.stop_callback = self._on_stop

    def _on_stop(self) -> None:
        self._stopped = True

    @property
    def stopped(self) -> bool:
        """See `AudioStream`."""
        return self._stopped

    def close(self) -> None:
        """See `AudioStream`."""
        device, self._device = self._device, None
        if device is not None:
            device.close()


def opening_error(device: AudioDevice, code: int | None, lib: Any) -> ScaError:
    """What a miniaudio result code means for somebody who wanted to open `device`."""
    what = f"the {device.direction} device {device.name!r}"
    if code in (lib.MA_BUSY, lib.MA_ALREADY_IN_USE, lib.MA_SHARE_MODE_NOT_SUPPORTED):
        return InputError(f"{what} is busy: another program has it", hint="end that program, or choose another device")
    if code == lib.MA_ACCESS_DENIED:
        return InputError(
            f"{what} may not be used: permission denied",
            hint="allow microphone access in the system's privacy settings; on Linux join the group audio",
        )
    if code in (lib.MA_NO_DEVICE, lib.MA_DOES_NOT_EXIST, lib.MA_UNAVAILABLE):
        return InputError(f"{what} is gone", hint="plug it in again, or choose another one of sca devices")
    if code in (lib.MA_CONNECTION_REFUSED, lib.MA_FAILED_TO_INIT_BACKEND, lib.MA_NO_BACKEND):
        return MissingToolError(f"{what} cannot be opened: no sound server answers", hint=_NO_SERVER)
    return InputError(
        f"{what} cannot be opened (miniaudio error {code})",
        hint="look whether another program has it, and at what sca devices shows",
    )
