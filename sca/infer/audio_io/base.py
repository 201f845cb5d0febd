"""Microphones and loudspeakers: which there are, which one is meant, and streams of samples to and from them.

Two backends behind one interface: miniaudio, which comes with sca, and sounddevice, when asked for. Samples are float32
`(n, channels)` at the device's own rate; rates, mono and time are the business of `sca.infer.runners.mic`. Callbacks run in a thread of the
driver and must not block.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, Protocol

import numpy as np

from sca.errors import MissingToolError, UsageError

__all__ = [
    "BLOCK_MS",
    "OUTPUT_BUFFER_MS",
    "AudioBackend",
    "AudioDevice",
    "AudioStream",
    "Direction",
    "InputCallback",
    "OutputCallback",
    "device_to_dict",
    "is_headphones",
    "select_device",
]

BLOCK_MS = 20
"""What a callback is asked to hold. Drivers take it as a wish."""

OUTPUT_BUFFER_MS = 60
"""What a driver is asked to hold of the play-out. It may want all of that at once, when it was kept waiting."""

Direction = Literal["input", "output"]
InputCallback = Callable[[np.ndarray], None]
"""Gets float32 `(n, channels)` that was heard; the array is the callee's."""
OutputCallback = Callable[[int], np.ndarray]
"""Is asked for n samples to play now; returns float32 mono `(n,)`, which all channels get."""

_HEADPHONES = ("headphone", "headset", "earphone", "earbud", "airpod", "kopfhörer", "kopfhoerer")


@dataclass(frozen=True, slots=True)
class AudioDevice:
    """A device as its driver describes it.

    index: its place in `Backend.devices`.   system: the sound system that has it (PulseAudio, Core Audio, …).   rate_hz, channels:
    native ones, 0 when the driver does not say.   handle: what the backend opens it by.
    """

    index: int
    name: str
    direction: Direction
    backend: str
    system: str
    rate_hz: int
    channels: int
    default: bool
    handle: Any = None


class AudioStream(Protocol):
    """An open device, running.   rate_hz, channels: those of the samples it gives or takes."""

    rate_hz: int
    channels: int

    @property
    def stopped(self) -> bool:
        """Whether the driver said that it is over. Not every driver does."""
        ...

    def close(self) -> None:
        """Stop and let go. No callback runs after it. Twice is fine."""
        ...


class AudioBackend(Protocol):
    """A library that reaches devices."""

    name: str

    def devices(self) -> list[AudioDevice]:
        """Inputs, then outputs. Raises `MissingToolError` when there is no sound system to ask."""
        ...

    def open_input(self, device: AudioDevice, take: InputCallback) -> AudioStream:
        """Start to listen. Raises `InputError` when the device is busy, gone or forbidden."""
        ...

    def open_output(self, device: AudioDevice, fill: OutputCallback, buffer_ms: int = OUTPUT_BUFFER_MS) -> AudioStream:
        """Start to play, with so much in the driver's hands. Raises like `open_input`."""
        ...


def select_device(devices: Sequence[AudioDevice], direction: Direction, wanted: str | None) -> AudioDevice:
    """The device that `wanted` means: an index, a whole name, or a part of just one name; None is the system's default.

    Raises `MissingToolError` when there is none of this direction, `UsageError` when none or several fit.
    """
    able = [device for device in devices if device.direction == direction]
    what = "microphone" if direction == "input" else "loudspeaker"
    if not able:
        raise MissingToolError(
            f"there is no {what}: the sound system has no {direction} device",
            hint="plug one in or allow it, then look at sca devices; without one, sca live --file IN.wav --out OUT.wav works",
        )
    if wanted is None:
        return next((device for device in able if device.default), able[0])
    known = "; ".join(f"{device.index}: {device.name}" for device in able)
    if wanted.isdecimal():
        fitting = [device for device in able if device.index == int(wanted)]
    else:
        fitting = [device for device in able if device.name == wanted]
        fitting = fitting or [device for device in able if wanted.casefold() in device.name.casefold()]
    if len(fitting) == 1:
        return fitting[0]
    many = "several devices are" if fitting else f"there is no {direction} device"
    raise UsageError(f"{many} called {wanted}", hint=f"there are {known}")


def is_headphones(device: AudioDevice) -> bool:
    """Whether its name says that nobody but the listener hears it, so that there is no echo."""
    return any(word in device.name.casefold() for word in _HEADPHONES)


def device_to_dict(device: AudioDevice) -> dict[str, Any]:
    """A device for JSON."""
    return {field.name: getattr(device, field.name) for field in fields(device) if field.name != "handle"}
