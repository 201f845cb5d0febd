"""Voice activity detection with the Silero VAD (v6) that ships inside faster-whisper, and speech segments from its output.

The model file is located without importing faster-whisper and runs in onnxruntime on one thread. Audio is 16 kHz, in
frames of 512 samples (32 ms). Source of the model and of its input layout (64 samples of context before each frame):
snakers4/silero-vad, MIT.
"""

import threading
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sca.distribution import reinstall
from sca.errors import MissingToolError
from sca.onnx_session import open_session

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

__all__ = [
    "CONTEXT_SAMPLES",
    "FRAME_SAMPLES",
    "SileroVad",
    "VadStream",
    "find_silero_model",
    "shared_vad",
    "speech_segments",
    "with_context",
]

FRAME_SAMPLES = 512
"""Samples at 16 kHz per speech probability: 32 ms."""

CONTEXT_SAMPLES = 64
"""Samples before a frame that the model sees with it."""
_STATE_SHAPE = (1, 1, 128)
_FRAMES_AT_ONCE = 512  # bounds the memory of a long push; the state carries over, so the result does not depend on it


def find_silero_model() -> Path:
    """Return the path of the ONNX file inside the installed faster-whisper.

    Raises:
        MissingToolError: faster-whisper is not installed.
    """
    spec = find_spec("faster_whisper")
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    if not folders:
        raise MissingToolError("the Silero VAD ships inside faster-whisper, which is not installed", hint=_reinstall())
    return Path(folders[0]) / "assets" / "silero_vad_v6.onnx"


def _reinstall() -> str:
    return f"install the dependencies of sca again: {reinstall()}"


class SileroVad:
    """The stateless model. One instance serves any number of streams and threads.

    Args:
        model_file: The ONNX file; None uses the one inside faster-whisper.

    Raises:
        MissingToolError: The model file or onnxruntime is missing or unusable.
    """

    def __init__(self, model_file: Path | None = None) -> None:
        path = find_silero_model() if model_file is None else model_file
        if not path.is_file():
            raise MissingToolError(f"the Silero VAD model is missing: {path}", hint=_reinstall())
        try:
            # One thread: a frame takes 0.1 ms, too little to distribute.
            self._session: InferenceSession = open_session(path)
        except ImportError as error:
            raise MissingToolError(
                "the Silero VAD needs onnxruntime, which is not installed", hint=_reinstall()
            ) from error
        except Exception as error:  # onnxruntime's exception classes are private
            raise MissingToolError(f"the Silero VAD model cannot be loaded: {path}", hint=_reinstall()) from error

    def stream(self) -> "VadStream":
        """Return a new stream with its own state."""
        return VadStream(self)

    def probabilities(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the speech probabilities, float32 `(n // 512,)`, of float32 `(n,)` at 16 kHz.

        An unfinished frame has none.
        """
        return self.stream().push(x)

    def run(
        self, frames: NDArray[np.float32], h: NDArray[np.float32], c: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Run consecutive frames of one stream.

        Args:
            frames: Float32 `(n, 576)`: 64 samples of context and 512 new samples per frame.
            h: Hidden state of the LSTM, float32 `(1, 1, 128)`.
            c: Cell state of the LSTM, float32 `(1, 1, 128)`.

        Returns:
            The probabilities `(n,)`, and both states after the last frame.
        """
        probabilities, h, c = self._session.run(None, {"input": frames, "h": h, "c": c})
        return probabilities.reshape(-1), h, c


_LOADING = threading.Lock()


def shared_vad() -> SileroVad:
    """Return the model of this process, which is loaded once: loading takes 30 ms and 1.5 MiB.

    Raises:
        MissingToolError: The model file or onnxruntime is missing or unusable.
    """
    with _LOADING:  # servers ask for it in several threads
        return _loaded_vad()


@cache
def _loaded_vad() -> SileroVad:
    return SileroVad()


class VadStream:
    """The state of one stream: takes blocks of any length and returns one probability per completed frame."""

    def __init__(self, vad: SileroVad) -> None:
        self._vad = vad
        self.reset()

    def reset(self) -> None:
        """Discard all audio; the next sample is the first of a new stream."""
        self._h = np.zeros(_STATE_SHAPE, np.float32)
        self._c = np.zeros(_STATE_SHAPE, np.float32)
        # The context, then the samples of an unfinished frame. The context of the first frame is digital silence.
        self._held = np.zeros(CONTEXT_SAMPLES, np.float32)

    def push(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """Add float32 `(n,)` at 16 kHz and return the speech probabilities of the completed frames.

        The result is bit-identical for any division of the audio into blocks.

        Raises:
            ValueError: The block has another dtype or shape.
        """
        if block.dtype != np.float32 or block.ndim != 1:
            raise ValueError(f"expected float32 (n,), got {block.dtype} {block.shape}")
        held = np.concatenate([self._held, block])
        complete = (len(held) - CONTEXT_SAMPLES) // FRAME_SAMPLES
        self._held = held[complete * FRAME_SAMPLES :].copy()
        if complete == 0:
            return np.zeros(0, np.float32)
        found = []
        for start in range(0, complete, _FRAMES_AT_ONCE):
            stop = min(start + _FRAMES_AT_ONCE, complete)
            piece = held[start * FRAME_SAMPLES : stop * FRAME_SAMPLES + CONTEXT_SAMPLES]
            probabilities, self._h, self._c = self._vad.run(with_context(piece), self._h, self._c)
            found.append(probabilities)
        return np.concatenate(found)


def with_context(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Convert `(64 + 512 n,)` to `(n, 576)`: each frame preceded by the last 64 samples before it."""
    frames = np.empty((len(samples) // FRAME_SAMPLES, CONTEXT_SAMPLES + FRAME_SAMPLES), np.float32)
    frames[:, CONTEXT_SAMPLES:] = samples[CONTEXT_SAMPLES:].reshape(-1, FRAME_SAMPLES)
    frames[0, :CONTEXT_SAMPLES] = samples[:CONTEXT_SAMPLES]
    frames[1:, :CONTEXT_SAMPLES] = frames[:-1, FRAME_SAMPLES:]
    return frames


def speech_segments(
    probabilities: NDArray[np.float32] | Sequence[float],
    *,
    onset: float = 0.5,
    offset: float = 0.35,
    min_speech_samples: int = 4000,
    min_silence_samples: int = 1600,
    pad_samples: int = 480,
    frame_samples: int = FRAME_SAMPLES,
    total_samples: int | None = None,
) -> list[tuple[int, int]]:
    """Convert frame probabilities to speech segments.

    Speech starts at a frame with a probability of at least `onset` and ends before a frame below `offset` (hysteresis).
    The other rules then apply in this order: short pauses are closed, short segments are dropped, segments are padded.
    The defaults are Silero's: 250, 100 and 30 ms at 16 kHz.

    Args:
        probabilities: One speech probability per frame.
        onset: The probability at which speech starts.
        offset: The probability below which speech ends.
        min_speech_samples: Shorter segments are dropped.
        min_silence_samples: Shorter pauses are closed.
        pad_samples: Added to both sides of a segment; if a pause is too short for both pads, the segments meet in its
            middle.
        frame_samples: Samples per frame.
        total_samples: The length of the audio, which no segment exceeds; None is the length of all frames.

    Returns:
        `(start, end)` of each segment in samples: sorted, not overlapping, end exclusive.

    Raises:
        ValueError: The thresholds contradict each other.
    """
    if not 0 <= offset <= onset <= 1:
        raise ValueError(f"thresholds must keep 0 <= offset <= onset <= 1, got offset {offset} and onset {onset}")
    total = len(probabilities) * frame_samples if total_samples is None else total_samples
    joined: list[tuple[int, int]] = []
    for first, last in _runs(probabilities, onset, offset):
        start, end = first * frame_samples, last * frame_samples
        if joined and start - joined[-1][1] < min_silence_samples:
            start = joined.pop()[0]
        joined.append((start, end))
    return _padded([(start, end) for start, end in joined if end - start >= min_speech_samples], pad_samples, total)


def _runs(probabilities: NDArray[np.float32] | Sequence[float], onset: float, offset: float) -> list[tuple[int, int]]:
    """Return the runs of speech frames as `(first, last + 1)`."""
    runs = []
    first: int | None = None
    for i, probability in enumerate(np.asarray(probabilities, np.float64).tolist()):
        if first is None and probability >= onset:
            first = i
        elif first is not None and probability < offset:
            runs.append((first, i))
            first = None
    if first is not None:
        runs.append((first, len(probabilities)))
    return runs


def _padded(segments: list[tuple[int, int]], pad_samples: int, total_samples: int) -> list[tuple[int, int]]:
    padded = []
    for i, (start, end) in enumerate(segments):
        before = start if i == 0 else (start - segments[i - 1][1] + 1) // 2
        after = total_samples - end if i + 1 == len(segments) else (segments[i + 1][0] - end) // 2
        padded.append((start - min(pad_samples, before), end + min(pad_samples, max(after, 0))))
    return [(start, min(end, total_samples)) for start, end in padded if start < total_samples]
