"""Echo: keep what the loudspeaker says out of what the microphone hears, with the play-out as the known reference.

Three ways. `cancel` subtracts it (WebRTC's AEC3, in the optional package pywebrtc-audio), so one can be heard while it speaks.
`gate` needs nothing: it measures how late and how loud the play-out comes back, and mutes the microphone where that explains what
is heard; only somebody clearly louder gets through. `none` is for headphones. Everything here is at 16 kHz and synchronous.
"""

import importlib
import importlib.util
from typing import Any, Literal, Protocol

import numpy as np

from sca.audio.resample import StreamResampler
from sca.errors import MissingToolError
from sca.units import HEARD_HZ

__all__ = [
    "FRAME",
    "Echo",
    "EchoCanceller",
    "EchoFilter",
    "EchoGate",
    "EchoMode",
    "can_cancel",
    "create_echo_suppressor",
]

EchoMode = Literal["cancel", "gate", "none"]

FRAME = 160
"""Samples a canceller works on at a time: 10 ms."""

_LONGEST_LAG = HEARD_HZ // 2  # play-out handed to the driver → heard again: buffers on both ways, and the room
_WINDOW = HEARD_HZ  # what a delay is measured on
_MEASURE_EVERY = HEARD_HZ // 4
_LEAST_CORRELATION = 0.2
_QUIET = 1e-7  # mean square, -70 dBFS
_MARGIN = 8.0  # 9 dB: an echo is not equally loud all the time
_TAIL_FRAMES = 30  # 300 ms: the room, and devices whose clocks jump when the machine stalls
_AHEAD_FRAMES = 6
_HOLD_FRAMES = 6
_WARM_UP = 3 * HEARD_HZ  # play-out a canceller hears before it is trusted alone
_FIFO_MOST = HEARD_HZ // 8
_FIFO_WANTED = HEARD_HZ // 50


class Echo(Protocol):
    """Takes the echo of `far` out of `near`; both float32 `(n,)` of a whole number of frames, n the same."""

    def process(self, near: np.ndarray, far: np.ndarray) -> np.ndarray:
        """The cleaned `near`, as long as it was."""
        ...


def can_cancel() -> bool:
    """Whether the package that cancels echo is installed."""
    return importlib.util.find_spec("pywebrtc_audio") is not None


def create_echo_suppressor(mode: EchoMode) -> Echo | None:
    """The echo treatment of that name. Raises `MissingToolError` when its package is missing."""
    if mode == "none":
        return None
    return EchoCanceller() if mode == "cancel" else EchoGate()


class EchoCanceller:
    """WebRTC's AEC3. It finds the delay by itself; a gate helps in the first seconds of play-out, until it has.

    Raises `MissingToolError` without pywebrtc-audio.
    """

    def __init__(self) -> None:
        try:
            webrtc: Any = importlib.import_module("pywebrtc_audio")
        except ImportError as error:
            raise MissingToolError(
                "cancelling echo needs pywebrtc-audio, and that is not installed",
                hint="pip install pywebrtc-audio, or use --echo gate (mutes instead), or headphones and --echo none",
            ) from error
        self._canceller = webrtc.EchoCanceller(HEARD_HZ, 1)
        self._gate = EchoGate()
        self._warm_up = _WARM_UP

    def process(self, near: np.ndarray, far: np.ndarray) -> np.ndarray:
        """See `Echo`."""
        if len(near) == 0:
            return near
        cleaned: np.ndarray = self._canceller.process(np.ascontiguousarray(near), np.ascontiguousarray(far))
        if self._warm_up <= 0:
            return cleaned
        if float(np.mean(np.square(far))) > _QUIET:
            self._warm_up -= len(far)
        muted: np.ndarray = cleaned * self._gate.openness(near, far)
        return muted


class EchoGate:
    """Mutes where the play-out explains what is heard.

    Until the delay is measured (within the first second of play-out), all that is heard during play-out and half a second
    after it is taken for echo.   delay_samples: the measured delay, None before.   gain: echo over play-out, amplitude.
    """

    def __init__(self) -> None:
        self.delay_samples: int | None = None
        self.gain = 1.0
        self._near = np.zeros(_WINDOW, np.float32)
        self._far = np.zeros(_WINDOW + _LONGEST_LAG, np.float32)
        self._since = 0
        self._hold = 0
        self._open = 1.0

    def process(self, near: np.ndarray, far: np.ndarray) -> np.ndarray:
        """See `Echo`."""
        passed: np.ndarray = near * self.openness(near, far)
        return passed

    def openness(self, near: np.ndarray, far: np.ndarray) -> np.ndarray:
        """What `near` is multiplied with, float32 `(n,)`: 0 where it is explained, 1 where it is not."""
        pieces = [self._frame(near[i : i + FRAME], far[i : i + FRAME]) for i in range(0, len(near), FRAME)]
        return np.concatenate(pieces) if pieces else np.ones(0, np.float32)

    def _frame(self, near: np.ndarray, far: np.ndarray) -> np.ndarray:
        self._near = np.concatenate([self._near[FRAME:], near])
        self._far = np.concatenate([self._far[FRAME:], far])
        self._since += FRAME
        if self._since >= _MEASURE_EVERY:
            self._since = 0
            self._measure()
        if self._explained():
            self._hold = _HOLD_FRAMES
        else:
            self._hold = max(0, self._hold - 1)
        before, self._open = self._open, 0.0 if self._hold else 1.0
        return np.linspace(before, self._open, FRAME, dtype=np.float32)

    def _explained(self) -> bool:
        """Whether the newest frame is no louder than the echo that must be in it."""
        heard = float(np.mean(np.square(self._near[-2 * FRAME :])))
        if self.delay_samples is None:
            return bool(np.max(np.abs(self._far[-_LONGEST_LAG:])) > _QUIET**0.5)
        end = min(len(self._far), len(self._far) - self.delay_samples + _AHEAD_FRAMES * FRAME)
        tail = self._far[end - _TAIL_FRAMES * FRAME : end].reshape(-1, FRAME)
        played = float(np.max(np.mean(np.square(tail), axis=1)))
        return played > _QUIET and heard < _MARGIN * self.gain**2 * played

    def _measure(self) -> None:
        """Find the delay at which the play-out fits what is heard best, if it fits at all."""
        loud_far, loud_near = (float(np.mean(np.square(x[-_WINDOW:]))) for x in (self._far, self._near))
        if loud_far < 100 * _QUIET or loud_near < _QUIET:
            return
        # Lag L puts far[…, n - L] beside near[n]; far reaches further back by the longest lag.
        size = 1 << (len(self._far) + len(self._near)).bit_length()
        cross = np.fft.irfft(np.fft.rfft(self._near, size).conj() * np.fft.rfft(self._far, size), size)
        energy = np.concatenate([[0.0], np.cumsum(np.square(self._far, dtype=np.float64))])
        offsets = np.arange(_LONGEST_LAG + 1)
        far_energy = energy[offsets + _WINDOW] - energy[offsets]
        fits = np.abs(cross[: _LONGEST_LAG + 1]) / np.sqrt(np.maximum(far_energy * loud_near * _WINDOW, 1e-12))
        best = int(np.argmax(fits))
        if fits[best] < _LEAST_CORRELATION:
            return
        self.delay_samples = _LONGEST_LAG - best
        ratio = loud_near * _WINDOW / max(float(far_energy[best]), 1e-12)
        # Where the echo is most of what is heard, all of it counts (the room smears it); else what correlates.
        self.gain = float(np.sqrt(ratio if fits[best] > 0.5 else ratio * fits[best] ** 2))


class EchoFilter:
    """Feeds an `Echo` from two streams of any blocks: whole frames, and the reference kept close to the microphone.

    The two devices have clocks of their own: reference that is missing is silence, too much of it is thrown away.
    """

    def __init__(self, echo: Echo) -> None:
        self._echo = echo
        self._near = np.zeros(0, np.float32)
        self._far = np.zeros(_FIFO_WANTED, np.float32)
        self._resampler: StreamResampler | None = None
        self._rate_hz = 0

    def push_reference(self, samples: np.ndarray, rate_hz: int) -> None:
        """The loudspeaker was given float32 `(n,)` at `rate_hz`."""
        if self._resampler is None or rate_hz != self._rate_hz:
            self._rate_hz = rate_hz
            self._resampler = StreamResampler(rate_hz, HEARD_HZ)
        self._far = np.concatenate([self._far, self._resampler.push(samples)])

    def process(self, heard: np.ndarray) -> np.ndarray:
        """Clean float32 `(n,)`; up to a frame is held back until the next call."""
        near = np.concatenate([self._near, heard])
        whole = len(near) // FRAME * FRAME
        self._near = near[whole:]
        if len(self._far) > whole + _FIFO_MOST:
            self._far = self._far[len(self._far) - whole - _FIFO_WANTED :]
        far = np.zeros(whole, np.float32)
        known = min(whole, len(self._far))
        far[:known] = self._far[:known]
        self._far = self._far[known:]
        return self._echo.process(near[:whole], far)
