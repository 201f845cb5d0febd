"""Devices through sounddevice (PortAudio), for those who ask for it. On Linux PortAudio is a system package."""

from typing import Any

import numpy as np

from sca.errors import InputError, MissingToolError
from sca.infer.audio_io.base import BLOCK_MS, OUTPUT_BUFFER_MS, AudioDevice, Direction, InputCallback, OutputCallback

__all__ = ["SounddeviceBackend"]


class SounddeviceBackend:
    """See `sca.infer.audio_io.base.AudioBackend`."""

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

    def devices(self) -> list[AudioDevice]:
        """See `AudioBackend`."""
        # PortAudio lists devices once, when it starts; without this, one that was plugged in later is never seen.
        self._lib._terminate()
        self._lib._initialize()
        infos = list(self._lib.query_devices())
        if not infos:
            raise MissingToolError("PortAudio finds no sound device", hint="start the sound server or plug a device in")
        found: list[AudioDevice] = []
        directions: tuple[Direction, ...] = ("input", "output")
        for side, direction in enumerate(directions):
            able = [number for number, info in enumerate(infos) if info[f"max_{direction}_channels"] > 0]
            preferred = self._lib.default.device[side]
            for number in able:
                found.append(self._device(len(found), direction, number, infos[number], number == preferred))
        return found

    def _device(self, index: int, direction: Direction, number: int, info: Any, default: bool) -> AudioDevice:
        # Virtual devices offer dozens of channels, all the same.
        channels = min(int(info[f"max_{direction}_channels"]), 2)
        system = self._lib.query_hostapis(info["hostapi"])["name"]
        rate_hz = int(info["default_samplerate"])
        return AudioDevice(index, info["name"], direction, self.name, system, rate_hz, channels, default, number)

    def open_input(self, device: AudioDevice, take: InputCallback) -> "_SounddeviceStream":
        """See `AudioBackend`."""

        def heard(data: np.ndarray, frames: int, time: Any, status: Any) -> None:
            take(data.copy())

        return self._open(device, self._lib.InputStream, heard, "low")

    def open_output(
        self, device: AudioDevice, fill: OutputCallback, buffer_ms: int = OUTPUT_BUFFER_MS
    ) -> "_SounddeviceStream":
        """See `AudioBackend`."""

        def said(out: np.ndarray, frames: int, time: Any, status: Any) -> None:
            out[:] = fill(frames)[:, None]

        return self._open(device, self._lib.OutputStream, said, buffer_ms / 1000)

    def _open(self, device: AudioDevice, kind: Any, callback: Any, latency: float | str) -> "_SounddeviceStream":
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
    """See `sca.infer.audio_io.base.AudioStream`."""

    def __init__(self, stream: Any, device: AudioDevice) -> None:
        self.rate_hz, self.channels = device.rate_hz, device.channels
        self._stream: Any = stream

    @property
    def stopped(self) -> bool:
        """See `AudioStream`."""
        return self._stream is not None and not self._stream.active

    def close(self) -> None:
        """See `AudioStream`."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
