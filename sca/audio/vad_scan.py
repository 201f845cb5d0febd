"""Speech probabilities of whole recordings at less cost than a stream: the model runs only where the sound changes.

Most of a speaker's track is the pause in which the other one speaks. Where the sound stays at its quietest level and
the model has just found no speech in it, the frames have a probability of 0 without running the model. The state of the
model continues after the gap, so speech after it is found as after a short pause: a little more than in a stream, which
misses short words after long silence. See docs/LOG.md for the measurements.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sca.audio.silero_products import open_products, windows_of
from sca.audio.vad import CONTEXT_SAMPLES, FRAME_SAMPLES, SileroVad, find_silero_model, with_context

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

__all__ = ["ScanVad", "VadScan", "quiet_frames"]

_BLOCK_FRAMES = 1875
"""The quietest level is that of 60 s."""
_FRAMES_AT_ONCE = 128  # their intermediate results fit in a core's cache
_AFTER_SPEECH = 8
"""Frames of a quiet stretch that are run at its start: the end of speech, and proof that the rest has none."""
_BEFORE_SPEECH = 8
_NO_SPEECH = 0.15
_QUIETEST_SHARE = 10  # percentile
_ABOVE_QUIETEST = 4.0  # 6 dB
_INAUDIBLE = 1e-10  # -100 dBFS


class ScanVad:
    """The model, shared by any number of scans and threads.

    Raises:
        MissingToolError: The model file or onnxruntime is missing or unusable.
    """

    def __init__(self) -> None:
        self.plain = SileroVad()
        self._products: InferenceSession | None = open_products(find_silero_model())

    def run(
        self, held: NDArray[np.float32], h: NDArray[np.float32], c: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Run consecutive frames.

        Args:
            held: 64 samples of context, and the samples of n frames of 512.
            h: Hidden state of the LSTM, float32 `(1, 1, 128)`.
            c: Cell state of the LSTM, float32 `(1, 1, 128)`.

        Returns:
            The probabilities `(n,)`, and both states after the last frame.
        """
        if self._products is None:  # another version of the model file
            return self.plain.run(with_context(held), h, c)
        probabilities, h, c = self._products.run(None, {"windows": windows_of(held), "h": h, "c": c})
        return probabilities.reshape(-1), h, c


class VadScan:
    """One recording, in blocks of any length. The result does not depend on the blocks."""

    def __init__(self, vad: ScanVad) -> None:
        self._vad = vad
        self._h = self._c = np.zeros((1, 1, 128), np.float32)
        # The context, then the samples that do not fill 60 s.
        self._held = [np.zeros(CONTEXT_SAMPLES, np.float32)]
        self._samples = 0
        self._found: list[NDArray[np.float32]] = []

    def push(self, block: NDArray[np.float32]) -> None:
        """Add float32 `(n,)` at 16 kHz."""
        self._held.append(block)
        self._samples += len(block)
        while self._samples >= _BLOCK_FRAMES * FRAME_SAMPLES:
            self._scan(_BLOCK_FRAMES)

    def finish(self) -> NDArray[np.float32]:
        """Return the probabilities `(n // 512,)` of all samples. An unfinished frame has none."""
        self._scan(self._samples // FRAME_SAMPLES)
        return np.concatenate(self._found)

    def _scan(self, frames: int) -> None:
        held = np.concatenate(self._held)
        used = frames * FRAME_SAMPLES
        block = held[: used + CONTEXT_SAMPLES]
        self._held, self._samples = [held[used:].copy()], self._samples - used
        probabilities = np.zeros(frames, np.float32)
        done = 0
        for start, end in _gaps(quiet_frames(block[CONTEXT_SAMPLES:])):
            self._run(block, probabilities, done, start)
            done = end if probabilities[start - 1] < _NO_SPEECH else start
        self._run(block, probabilities, done, frames)
        self._found.append(probabilities)

    def _run(self, block: NDArray[np.float32], probabilities: NDArray[np.float32], start: int, end: int) -> None:
        for first in range(start, end, _FRAMES_AT_ONCE):
            last = min(first + _FRAMES_AT_ONCE, end)
            held = block[first * FRAME_SAMPLES : last * FRAME_SAMPLES + CONTEXT_SAMPLES]
            probabilities[first:last], self._h, self._c = self._vad.run(held, self._h, self._c)


def quiet_frames(samples: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return which frames are at most 6 dB above the quietest tenth of them, or inaudible.

    The power of the samples and that of their differences both have to be low: hum and an offset hide speech in the
    former, but not in the latter.

    Args:
        samples: `(512 n,)`.
    """
    frames = samples.reshape(-1, FRAME_SAMPLES)
    if not len(frames):
        return np.zeros(0, bool)
    power = np.empty((2, len(frames)), np.float32)
    for first in range(0, len(frames), _FRAMES_AT_ONCE):
        some = frames[first : first + _FRAMES_AT_ONCE]
        changes = some[:, 1:] - some[:, :-1]
        for row, values in enumerate((some, changes)):
            power[row, first : first + len(some)] = np.einsum("ij,ij->i", values, values) / FRAME_SAMPLES
    quietest = np.percentile(power, _QUIETEST_SHARE, axis=1, keepdims=True)
    quiet: NDArray[np.bool_] = (power <= np.maximum(quietest * _ABOVE_QUIETEST, _INAUDIBLE)).all(axis=0)
    return quiet


def _gaps(quiet: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """Yield the stretches of frames that need not be run: quiet ones, without their first and last frames."""
    edges = np.flatnonzero(np.diff(quiet, prepend=False, append=False))
    for start, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if end - start > _AFTER_SPEECH + _BEFORE_SPEECH:
            yield start + _AFTER_SPEECH, end - _BEFORE_SPEECH
