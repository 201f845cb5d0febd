"""Where is speech? The Silero VAD (v6) that ships inside faster-whisper, as a stream, and segments from its probabilities.

The model file is found without importing faster-whisper and run by onnxruntime on one thread. Knows 16 kHz and frames of 512
samples (32 ms); what a turn is, and when it ends, is decided elsewhere. Source of the model and of its input layout (64 samples
of context before each frame): snakers4/silero-vad, MIT.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from sca.errors import MissingToolError
from sca.onnx_session import open_session

__all__ = ["FRAME_SAMPLES", "SileroVad", "VadStream", "find_silero_model", "speech_segments"]

FRAME_SAMPLES = 512
"""Samples at 16 kHz that one probability stands for: 32 ms."""

_CONTEXT_SAMPLES = 64
_STATE_SHAPE = (1, 1, 128)
_FRAMES_AT_ONCE = 512  # bounds the working set of a long push; the state is carried over, so it does not change a bit
_REINSTALL = "reinstall sca's dependencies: uv sync, or pip install --force-reinstall faster-whisper onnxruntime"


def find_silero_model() -> Path:
    """The ONNX file inside the installed faster-whisper; raises `MissingToolError` when there is none."""
    spec = find_spec("faster_whisper")
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    if not folders:
        raise MissingToolError("the Silero VAD ships inside faster-whisper, and that is not installed", hint=_REINSTALL)
    return Path(folders[0]) / "assets" / "silero_vad_v6.onnx"


class SileroVad:
    """The model, without state: one serves any number of streams and threads.

    Raises `MissingToolError` when the model file or onnxruntime is missing or unusable.
    """

    def __init__(self, model_file: Path | None = None) -> None:
        path = find_silero_model() if model_file is None else model_file
        if not path.is_file():
            raise MissingToolError(f"the Silero VAD model is missing: {path}", hint=_REINSTALL)
        try:
            self._session: Any = open_session(path)  # one thread: a frame takes 0.1 ms, too little to share
        except ImportError as error:
            raise MissingToolError(
                "the Silero VAD needs onnxruntime, which is not installed", hint=_REINSTALL
            ) from error
        except Exception as error:  # onnxruntime's own classes are private; whatever it is, the file is no model
            raise MissingToolError(f"the Silero VAD model cannot be loaded: {path}", hint=_REINSTALL) from error

    def stream(self) -> "VadStream":
        """A new stream with its own state."""
        return VadStream(self)

    def probabilities(self, x: np.ndarray) -> np.ndarray:
        """Speech probabilities of a whole float32 `(n,)` at 16 kHz: float32 `(n // 512,)`; an unfinished frame has none."""
        return self.stream().push(x)

    def run(self, frames: np.ndarray, h: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Run consecutive frames of one stream.

        frames: float32 `(n, 576)`, 64 samples of context and 512 new ones.   h, c: LSTM state, float32 `(1, 1, 128)`.
        Returns probabilities `(n,)` and the state after them.
        """
        probabilities, h, c = self._session.run(None, {"input": frames, "h": h, "c": c})
        return probabilities.reshape(-1), h, c


class VadStream:
    """The state of one stream: push blocks of any length, get one probability for each frame they complete."""

    def __init__(self, vad: SileroVad) -> None:
        self._vad = vad
        self.reset()

    def reset(self) -> None:
        """Forget everything heard; the next sample is the first of a new stream."""
        self._h = np.zeros(_STATE_SHAPE, np.float32)
        self._c = np.zeros(_STATE_SHAPE, np.float32)
        # Context, then the samples of an unfinished frame. A stream begins after digital silence.
        self._held = np.zeros(_CONTEXT_SAMPLES, np.float32)

    def push(self, block: np.ndarray) -> np.ndarray:
        """Take float32 `(n,)` at 16 kHz and return float32 speech probabilities, one per frame completed.

        The same samples give the same probabilities, bit for bit, however they are cut into blocks. Raises ValueError for
        another dtype or shape.
        """
        if block.dtype != np.float32 or block.ndim != 1:
            raise ValueError(f"expected float32 (n,), got {block.dtype} {block.shape}")
        held = np.concatenate([self._held, block])
        complete = (len(held) - _CONTEXT_SAMPLES) // FRAME_SAMPLES
        self._held = held[complete * FRAME_SAMPLES :].copy()
        if complete == 0:
            return np.zeros(0, np.float32)
        found = []
        for start in range(0, complete, _FRAMES_AT_ONCE):
            stop = min(start + _FRAMES_AT_ONCE, complete)
            piece = held[start * FRAME_SAMPLES : stop * FRAME_SAMPLES + _CONTEXT_SAMPLES]
            probabilities, self._h, self._c = self._vad.run(_with_context(piece), self._h, self._c)
            found.append(probabilities)
        return np.concatenate(found)


def _with_context(samples: np.ndarray) -> np.ndarray:
    """`(64 + 512 n,)` to `(n, 576)`: each frame after the end of the one before."""
    frames = np.empty((len(samples) // FRAME_SAMPLES, _CONTEXT_SAMPLES + FRAME_SAMPLES), np.float32)
    frames[:, _CONTEXT_SAMPLES:] = samples[_CONTEXT_SAMPLES:].reshape(-1, FRAME_SAMPLES)
    frames[0, :_CONTEXT_SAMPLES] = samples[:_CONTEXT_SAMPLES]
    frames[1:, :_CONTEXT_SAMPLES] = frames[:-1, FRAME_SAMPLES:]
    return frames


def speech_segments(
    probabilities: np.ndarray | Sequence[float],
    *,
    onset: float = 0.5,
    offset: float = 0.35,
    min_speech_samples: int = 4000,
    min_silence_samples: int = 1600,
    pad_samples: int = 480,
    frame_samples: int = FRAME_SAMPLES,
    total_samples: int | None = None,
) -> list[tuple[int, int]]:
    """Turn probabilities, one per frame, into `(start, end)` in samples: sorted, apart from each other, end exclusive.

    Speech starts at a frame of at least `onset` and goes on until one below `offset` (hysteresis). Then, in this order: pauses
    shorter than `min_silence_samples` are closed, segments shorter than `min_speech_samples` are dropped, and each is widened by
    `pad_samples` on both sides, two neighbours meeting in the middle of a pause too short for both, nothing leaving
    `[0, total_samples)` (by default the frames themselves). Defaults are Silero's: 250, 100 and 30 ms at 16 kHz.
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


def _runs(probabilities: np.ndarray | Sequence[float], onset: float, offset: float) -> list[tuple[int, int]]:
    """Frames of speech as `(first, last + 1)`."""
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
