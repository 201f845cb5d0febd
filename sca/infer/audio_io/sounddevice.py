"""Audio devices through sounddevice (PortAudio), an optional backend. On Linux, PortAudio is a system package."""

from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, TypedDict

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from sca.distribution import install_extra
from sca.errors import InputError, MissingToolError
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
    from sounddevice import InputStream, OutputStream

__all__ = ["SounddeviceBackend"]

_MOST_CHANNELS = 2  # virtual devices offer dozens of identical channels

Callback = Callable[[NDArray[np.float32], int, object, object], None]
"""PortAudio's callback: samples `(n, channels)`, n, time information, status flags."""


class _DeviceInfo(TypedDict):
    """The fields used here of a device in `sounddevice.query_devices`."""

    name: str
    hostapi: int
    max_input_channels: int
    max_output_channels: int
    default_samplerate: float


class SounddeviceBackend(AudioBackend):
    """The sounddevice backend.

    Raises:
        MissingToolError: sounddevice or PortAudio is not installed.
    """

    name = "sounddevice"

    def __init__(self) -> None:
        try:
            import sounddevice
        except ImportError as error:
            raise MissingToolError(
                "the backend sounddevice is not installed",
                hint=f"{install_extra('mic')}, or use the default: --backend miniaudio",
            ) from error
        except OSError as error:  # the wheel for Linux does not contain PortAudio
            raise MissingToolError(
                "sounddevice cannot find PortAudio", hint="apt-get install libportaudio2, or use --backend miniaudio"
            ) from error
        self._lib: ModuleType = sounddevice

    @override
    def devices(self) -> list[AudioDevice]:
        # PortAudio lists the devices once, when it starts. Without a restart, devices connected later would not appear.
        self._lib._terminate()
        self._lib._initialize()
        infos: list[_DeviceInfo] = list(self._lib.query_devices())
        if not infos:
            raise MissingToolError("PortAudio finds no sound device", hint="start the sound server or connect a device")
        found: list[AudioDevice] = []
        directions: tuple[Direction, ...] = ("input", "output")
        for side, direction in enumerate(directions):
            preferred = self._lib.default.device[side]
            for number, info in enumerate(infos):
                channels = info["max_input_channels"] if direction == "input" else info["max_output_channels"]
                if channels > 0:
                    is_default = number == preferred
                    found.append(self._device(len(found), direction, number, info, channels, default=is_default))
        return found

    def _device(
        self, index: int, direction: Direction, number: int, info: _DeviceInfo, channels: int, *, default: bool
    ) -> AudioDevice:
        system = self._lib.query_hostapis(info["hostapi"])["name"]
        rate_hz = int(info["default_samplerate"])
        channels = min(int(channels), _MOST_CHANNELS)
        return AudioDevice(index, info["name"], direction, self.name, system, rate_hz, channels, default, number)

    @override
    def open_input(self, device: AudioDevice, callback: InputCallback) -> AudioStream:
        def receive(data: NDArray[np.float32], frames: int, time: object, status: object) -> None:
            callback(data.copy())

        return self._open(device, self._lib.InputStream, receive, "low")

    @override
    def open_output(
        self, device: AudioDevice, callback: OutputCallback, buffer_ms: int = OUTPUT_BUFFER_MS
    ) -> AudioStream:
        def provide(out: NDArray[np.float32], frames: int, time: object, status: object) -> None:
            out[:] = callback(frames)[:, None]

        return self._open(device, self._lib.OutputStream, provide, buffer_ms / 1000)

    def _open(
        self,
        device: AudioDevice,
        stream_class: "Callable[..., InputStream | OutputStream]",
        callback: Callback,
        latency: float | str,
    ) -> "_SounddeviceStream":
        try:
            stream = stream_class(
                device=device.handle,
                samplerate=device.rate_hz,
                channels=device.channels,
                dtype="float32",
                blocksize=device.rate_hz * BLOCK_MS // 1000,
                latency=latency,
                callback=callback,
            )
            stream.start()
        except self._lib.PortAudioError as error:
            raise InputError(
                f"the {device.direction} device {device.name!r} cannot be opened: {error.args[0]}",
                hint="check whether another program uses it, or choose another one from sca devices --backend sounddevice",
            ) from error
        return _SounddeviceStream(stream, device)


class _SounddeviceStream(AudioStream):
    def __init__(self, stream: "InputStream | OutputStream", device: AudioDevice) -> None:
        self.rate_hz, self.channels = device.rate_hz, device.channels
        self._stream: InputStream | OutputStream | None = stream

    @property
    @override
    def stopped(self) -> bool:
        return self._stream is not None and not self._stream.active

    @override
    def close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
