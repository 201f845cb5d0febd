"""Devices through sounddevice (PortAudio), for those who ask for it. On Linux PortAudio is a system package."""

from typing import Any

import numpy as np

from sca.errors import InputError, MissingToolError
from sca.infer.audio_io.base import BLOCK_MS, OUTPUT_BUFFER_MS, Device, Direction, Fill, Take

__all__ = ["SounddeviceBackend"]


class SounddeviceBackend:
    """See `sca.infer.audio_io.registry.Backend`."""

    name = "sounddevice"

    def __init__(self) -> None:
        try:
            import sounddevice
        except ImportError as error:
            raise MissingToolError(
                "the backend sounddevice is not installed",
                hint="pip install sounddevice, or go on without: --backend miniaudio",
            ) from error
        except OSError as error:  # the wheel for Linux brings no PortAudio
            raise MissingToolError(
                "sounddevice finds no PortAudio", hint="apt-get install libportaudio2, or use --backend miniaudio"
            ) from error
        self._lib: Any = sounddevice

    def devices(self) -> list[Device]:
        """See `Backend`."""
        # PortAudio lists devices once, when it starts; without this, one that was plugged in later is never seen.
        self._lib._terminate()
        self._lib._initialize()
        infos = list(self._lib.query_devices())
        if not infos:
            raise MissingToolError("PortAudio finds no sound device", hint="start the sound server or plug a device in")
        found: list[Device] = []
        directions: tuple[Direction, ...] = ("input", "output")
        for side, direction in enumerate(directions):
            able = [number for number, info in enumerate(infos) if info[f"max_{direction}_channels"] > 0]
            preferred = self._lib.default.device[side]
            for number in able:
                found.append(self._device(len(found), direction, number, infos[number], number == preferred))
        return found

    def _device(self, index: int, direction: Direction, number: int, info: Any, default: bool) -> Device:
        # Virtual devices offer dozens of channels, all the same.
        channels = min(int(info[f"max_{direction}_channels"]), 2)
        system = self._lib.query_hostapis(info["hostapi"])["name"]
        rate_hz = int(info["default_samplerate"])
        return Device(index, info["name"], direction, self.name, system, rate_hz, channels, default, number)

    def open_input(self, device: Device, take: Take) -> "_SounddeviceStream":
        """See `Backend`."""

        def heard(data: np.ndarray, frames: int, time: Any, status: Any) -> None:
            take(data.copy())

        return self._open(device, self._lib.InputStream, heard, "low")

    def open_output(self, device: Device, fill: Fill, buffer_ms: int = OUTPUT_BUFFER_MS) -> "_SounddeviceStream":
        """See `Backend`."""

        def said(out: np.ndarray, frames: int, time: Any, status: Any) -> None:
            out[:] = fill(frames)[:, None]

        return self._open(device, self._lib.OutputStream, said, buffer_ms / 1000)

    def _open(self, device: Device, kind: Any, callback: Any, latency: float | str) -> "_SounddeviceStream":
        try:
            stream = kind(
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
                hint="look whether another program has it, or choose another one of sca devices --backend sounddevice",
            ) from error
        return _SounddeviceStream(stream, device)


class _SounddeviceStream:
    """See `sca.infer.audio_io.registry.Stream`."""

    def __init__(self, stream: Any, device: Device) -> None:
        self.rate_hz, self.channels = device.rate_hz, device.channels
        self._stream: Any = stream

    @property
    def stopped(self) -> bool:
        """See `Stream`."""
        return self._stream is not None and not self._stream.active

    def close(self) -> None:
        """See `Stream`."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
