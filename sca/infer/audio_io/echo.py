"""Echo suppression: removes the output of the loudspeaker from the input of the microphone, with the output as reference.

There are three modes. `cancel` subtracts the echo (WebRTC's AEC3, in the optional package pywebrtc-audio), so the user
can interrupt. `gate` needs no package: it measures the delay and the level of the echo and mutes the microphone where
the echo explains the input; only a clearly louder voice passes. `none` is for headphones. All audio here is at 16 kHz,
and all functions are synchronous.
"""

import importlib
import importlib.util
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from sca.audio.resample import StreamResampler
from sca.distribution import install_extra
from sca.errors import MissingToolError
from sca.units import HEARD_HZ

if TYPE_CHECKING:
    import pywebrtc_audio

__all__ = [
    "FRAME_SAMPLES",
    "EchoCanceller",
    "EchoFilter",
    "EchoGate",
    "EchoMode",
    "EchoSuppressor",
    "can_cancel",
    "create_echo_suppressor",
]

EchoMode = Literal["cancel", "gate", "none"]

FRAME_SAMPLES = 160
"""The frame length of echo suppression: 10 ms."""

_LONGEST_DELAY = HEARD_HZ // 2  # from the driver's output to its input: both buffers, and the room
_WINDOW_SAMPLES = HEARD_HZ  # the audio on which the delay is measured
_MEASURE_EVERY = HEARD_HZ // 4
_LEAST_CORRELATION = 0.2
_QUIET = 1e-7  # mean square, -70 dBFS
_MARGIN = 8.0  # 9 dB: the level of an echo varies
_TAIL_FRAMES = 30  # 300 ms: reverberation, and device clocks that jump when the machine stalls
_AHEAD_FRAMES = 6
_HOLD_FRAMES = 6
_WARM_UP = 3 * HEARD_HZ  # output after which the canceller works without the gate
_LONGEST_REFERENCE_LEAD = HEARD_HZ // 8
_REFERENCE_LEAD = HEARD_HZ // 50


class EchoSuppressor(Protocol):
    """Removes the echo of one signal from another."""

    def process(self, near: NDArray[np.float32], far: NDArray[np.float32]) -> NDArray[np.float32]:
        """Remove the echo of `far` (the output) from `near` (the input).

        Args:
            near: Float32 `(n,)`, a whole number of frames.
            far: Float32 `(n,)`.

        Returns:
            Float32 `(n,)`.
        """
        ...


def can_cancel() -> bool:
    """Return whether the package for echo cancellation is installed."""
    return importlib.util.find_spec("pywebrtc_audio") is not None


def create_echo_suppressor(mode: EchoMode) -> EchoSuppressor | None:
    """Return the echo suppressor of a mode; None for "none".

    Raises:
        MissingToolError: The package for echo cancellation is not installed.
    """
    if mode == "none":
        return None
    return EchoCanceller() if mode == "cancel" else EchoGate()


class EchoCanceller(EchoSuppressor):
    """WebRTC's AEC3, which determines the delay itself. Until it has, in the first seconds of output, a gate is active as well.

    Raises:
        MissingToolError: pywebrtc-audio is not installed.
    """

    def __init__(self) -> None:
        try:
            webrtc = importlib.import_module("pywebrtc_audio")
        except ImportError as error:
            raise MissingToolError(
                "echo cancellation needs pywebrtc-audio, which is not installed",
                hint=f"{install_extra('mic')}, or use --echo gate (mutes instead), or headphones and --echo none",
            ) from error
        self._canceller: pywebrtc_audio.EchoCanceller = webrtc.EchoCanceller(HEARD_HZ, 1)
        self._gate = EchoGate()
        self._warm_up = _WARM_UP

    @override
    def process(self, near: NDArray[np.float32], far: NDArray[np.float32]) -> NDArray[np.float32]:
        if len(near) == 0:
            return near
        cleaned: NDArray[np.float32] = self._canceller.process(np.ascontiguousarray(near), np.ascontiguousarray(far))
        if self._warm_up <= 0:
            return cleaned
        if float(np.mean(np.square(far))) > _QUIET:
            self._warm_up -= len(far)
        return cleaned * self._gate.gains(near, far)


class EchoGate(EchoSuppressor):
    """Mutes the input where the output explains it.

    Until the delay is measured (within the first second of output), all input during the output and half a second after
    it is treated as echo.

    Attributes:
        delay_samples: The measured delay, None before the first measurement.
        gain: The amplitude of the echo relative to the output.
    """

    def __init__(self) -> None:
        self.delay_samples: int | None = None
        self.gain = 1.0
        self._near = np.zeros(_WINDOW_SAMPLES, np.float32)
        self._far = np.zeros(_WINDOW_SAMPLES + _LONGEST_DELAY, np.float32)
        self._since_measurement = 0
        self._hold = 0
        self._open = 1.0

    @override
    def process(self, near: NDArray[np.float32], far: NDArray[np.float32]) -> NDArray[np.float32]:
        return near * self.gains(near, far)

    def gains(self, near: NDArray[np.float32], far: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the factors for `near`, float32 `(n,)`: 0 where the echo explains it, 1 elsewhere."""
        frames = [
            self._frame_gains(near[i : i + FRAME_SAMPLES], far[i : i + FRAME_SAMPLES])
            for i in range(0, len(near), FRAME_SAMPLES)
        ]
        return np.concatenate(frames) if frames else np.ones(0, np.float32)

    def _frame_gains(self, near: NDArray[np.float32], far: NDArray[np.float32]) -> NDArray[np.float32]:
        self._near = np.concatenate([self._near[FRAME_SAMPLES:], near])
        self._far = np.concatenate([self._far[FRAME_SAMPLES:], far])
        self._since_measurement += FRAME_SAMPLES
        if self._since_measurement >= _MEASURE_EVERY:
            self._since_measurement = 0
            self._measure()
        if self._is_echo():
            self._hold = _HOLD_FRAMES
        else:
            self._hold = max(0, self._hold - 1)
        before, self._open = self._open, 0.0 if self._hold else 1.0
        return np.linspace(before, self._open, FRAME_SAMPLES, dtype=np.float32)

    def _is_echo(self) -> bool:
        """Return whether the newest frame is not louder than the echo expected in it."""
        level = float(np.mean(np.square(self._near[-2 * FRAME_SAMPLES :])))
        if self.delay_samples is None:
            return bool(np.max(np.abs(self._far[-_LONGEST_DELAY:])) > _QUIET**0.5)
        end = min(len(self._far), len(self._far) - self.delay_samples + _AHEAD_FRAMES * FRAME_SAMPLES)
        tail = self._far[end - _TAIL_FRAMES * FRAME_SAMPLES : end].reshape(-1, FRAME_SAMPLES)
        played = float(np.max(np.mean(np.square(tail), axis=1)))
        return played > _QUIET and level < _MARGIN * self.gain**2 * played

    def _measure(self) -> None:
        """Find the delay at which input and output correlate best, if they correlate at all."""
        far_level, near_level = (float(np.mean(np.square(x[-_WINDOW_SAMPLES:]))) for x in (self._far, self._near))
        if far_level < 100 * _QUIET or near_level < _QUIET:
            return
        # A delay of L aligns far[…, n - L] with near[n]; `far` reaches further back by the longest delay.
        size = 1 << (len(self._far) + len(self._near)).bit_length()
        cross = np.fft.irfft(np.fft.rfft(self._near, size).conj() * np.fft.rfft(self._far, size), size)
        energy = np.concatenate([[0.0], np.cumsum(np.square(self._far, dtype=np.float64))])
        offsets = np.arange(_LONGEST_DELAY + 1)
        far_energy = energy[offsets + _WINDOW_SAMPLES] - energy[offsets]
        energies = np.maximum(far_energy * near_level * _WINDOW_SAMPLES, 1e-12)
        correlation = np.abs(cross[: _LONGEST_DELAY + 1]) / np.sqrt(energies)
        best = int(np.argmax(correlation))
        if correlation[best] < _LEAST_CORRELATION:
            return
        self.delay_samples = _LONGEST_DELAY - best
        ratio = near_level * _WINDOW_SAMPLES / max(float(far_energy[best]), 1e-12)
        # If the echo dominates the input, all of the input counts as echo (the room smears it); else only the
        # correlated part.
        self.gain = float(np.sqrt(ratio if correlation[best] > 0.5 else ratio * correlation[best] ** 2))


class EchoFilter:
    """Feeds an `EchoSuppressor` from two streams with any block sizes: whole frames, and a reference aligned with the microphone.

    The two devices have independent clocks: missing reference is replaced by silence, and excess reference is
    discarded.

    Args:
        suppressor: Processes the aligned frames.
    """

    def __init__(self, suppressor: EchoSuppressor) -> None:
        self._suppressor = suppressor
        self._near = np.zeros(0, np.float32)
        self._far = np.zeros(_REFERENCE_LEAD, np.float32)
        self._resampler: StreamResampler | None = None
        self._rate_hz = 0

    def push_reference(self, samples: NDArray[np.float32], rate_hz: int) -> None:
        """Add float32 `(n,)` at `rate_hz` that the loudspeaker has received."""
        if self._resampler is None or rate_hz != self._rate_hz:
            self._rate_hz = rate_hz
            self._resampler = StreamResampler(rate_hz, HEARD_HZ)
        self._far = np.concatenate([self._far, self._resampler.push(samples)])

    def process(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Remove the echo from float32 `(n,)`. Up to a frame is held back until the next call."""
        near = np.concatenate([self._near, samples])
        whole = len(near) // FRAME_SAMPLES * FRAME_SAMPLES
        self._near = near[whole:]
        if len(self._far) > whole + _LONGEST_REFERENCE_LEAD:
            self._far = self._far[len(self._far) - whole - _REFERENCE_LEAD :]
        far = np.zeros(whole, np.float32)
        known = min(whole, len(self._far))
        far[:known] = self._far[:known]
        self._far = self._far[known:]
        return self._suppressor.process(near[:whole], far)
