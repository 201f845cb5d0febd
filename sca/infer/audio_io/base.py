"""Audio devices and the interface of the backends that open them.

There are two backends: miniaudio, which is installed with sca, and sounddevice, on request. Samples are float32 `(n,
channels)` at the rate of the device. Callbacks run in a thread of the driver and must not block.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypedDict

import numpy as np
from numpy.typing import NDArray

from sca.errors import MissingToolError, UsageError

__all__ = [
    "BLOCK_MS",
    "OUTPUT_BUFFER_MS",
    "AudioBackend",
    "AudioDevice",
    "AudioStream",
    "DeviceDescription",
    "Direction",
    "InputCallback",
    "OutputCallback",
    "device_to_dict",
    "is_headphones",
    "select_device",
]

BLOCK_MS = 20
"""The requested length of a callback's block. Drivers may use another length."""

OUTPUT_BUFFER_MS = 60
"""The requested length of the driver's output buffer. After a delay, the driver may request all of it at once."""

Direction = Literal["input", "output"]
InputCallback = Callable[[NDArray[np.float32]], None]
"""Receives captured float32 `(n, channels)`. The callee may keep the array."""
OutputCallback = Callable[[int], NDArray[np.float32]]
"""Returns the next n samples to play, float32 mono `(n,)`; every channel plays them."""

_HEADPHONES = ("headphone", "headset", "earphone", "earbud", "airpod", "kopfhörer", "kopfhoerer")


class DeviceDescription(TypedDict):
    """An audio device in JSON."""

    index: int
    name: str
    direction: Direction
    backend: str
    system: str
    rate_hz: int
    channels: int
    default: bool


@dataclass(frozen=True, slots=True)
class AudioDevice:
    """A device as its driver describes it.

    Attributes:
        index: The position in `AudioBackend.devices`.
        name: The name.
        direction: Input or output.
        backend: The name of the backend.
        system: The sound system of the device (PulseAudio, Core Audio, …).
        rate_hz: The native sample rate, 0 if unknown.
        channels: The native number of channels, 0 if unknown.
        default: Whether this is the default device of its direction.
        handle: The identifier with which the backend opens the device.
    """

    index: int
    name: str
    direction: Direction
    backend: str
    system: str
    rate_hz: int
    channels: int
    default: bool
    handle: object = None


class AudioStream(Protocol):
    """An open, running device.

    Attributes:
        rate_hz: The sample rate of the stream.
        channels: The number of channels of the stream.
    """

    rate_hz: int
    channels: int

    @property
    def stopped(self) -> bool:
        """Whether the driver has reported the end of the stream. Some drivers never do."""
        ...

    def close(self) -> None:
        """Stop the device and release it. No callback runs afterwards. A second call has no effect."""
        ...


class AudioBackend(Protocol):
    """A library that opens audio devices.

    Attributes:
        name: The name of the backend.
    """

    name: str

    def devices(self) -> list[AudioDevice]:
        """Return all inputs, then all outputs.

        Raises:
            MissingToolError: No sound system is available.
        """
        ...

    def open_input(self, device: AudioDevice, callback: InputCallback) -> AudioStream:
        """Start capturing.

        Args:
            device: The device.
            callback: Receives the samples.

        Raises:
            InputError: The device is busy, is disconnected, or may not be used.
        """
        ...

    def open_output(
        self, device: AudioDevice, callback: OutputCallback, buffer_ms: int = OUTPUT_BUFFER_MS
    ) -> AudioStream:
        """Start playing.

        Args:
            device: The device.
            callback: Provides the samples.
            buffer_ms: The length of the driver's buffer.

        Raises:
            InputError: The device is busy, is disconnected, or may not be used.
        """
        ...


def select_device(devices: Sequence[AudioDevice], direction: Direction, requested: str | None) -> AudioDevice:
    """Select a device by index or name.

    Args:
        devices: The available devices.
        direction: Input or output.
        requested: An index, a name, or a part of exactly one name; None is the system's default.

    Raises:
        MissingToolError: No device has this direction.
        UsageError: No device, or more than one, matches.
    """
    candidates = [device for device in devices if device.direction == direction]
    kind = "microphone" if direction == "input" else "loudspeaker"
    if not candidates:
        raise MissingToolError(
            f"no {kind} found: the sound system has no {direction} device",
            hint="connect one or allow access to it, then run sca devices; sca live --file IN.wav -o OUT.wav needs none",
        )
    if requested is None:
        return next((device for device in candidates if device.default), candidates[0])
    if requested.isdecimal():
        matches = [device for device in candidates if device.index == int(requested)]
    else:
        matches = [device for device in candidates if device.name == requested] or [
            device for device in candidates if requested.casefold() in device.name.casefold()
        ]
    if len(matches) == 1:
        return matches[0]
    available = "; ".join(f"{device.index}: {device.name}" for device in candidates)
    if matches:
        raise UsageError(f"more than one {direction} device matches {requested}", hint=f"available: {available}")
    raise UsageError(f"{direction} device {requested} not found", hint=f"available: {available}")


def is_headphones(device: AudioDevice) -> bool:
    """Return whether the name of a device indicates headphones, with which there is no echo."""
    return any(word in device.name.casefold() for word in _HEADPHONES)


def device_to_dict(device: AudioDevice) -> DeviceDescription:
    """Return the description of a device for JSON."""
    return {
        "index": device.index,
        "name": device.name,
        "direction": device.direction,
        "backend": device.backend,
        "system": device.system,
        "rate_hz": device.rate_hz,
        "channels": device.channels,
        "default": device.default,
    }
