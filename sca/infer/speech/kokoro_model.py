"""Kokoro-82M in ONNX: phoneme ids and a style to audio, with the number of frames of every phoneme.

The graph rounds the length of each phoneme to frames of 25 ms. The model makes up to 0.5 s of silence at both ends, which
would cost half of the time of a short clause. So the file is divided: an encoder returns the lengths, the features of
the frames, and their pitch and energy; the decoder, which takes nine tenths of the time, gets the frames with sound. The
model has no random operators, so the same phonemes give the same audio.
Source of the ids, the style of a length and the limit: `config.json` and `kokoro_onnx/__init__.py` of
thewh1teagle/kokoro-onnx 0.6.1.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sca.audio.onnx_bytes import part_between
from sca.errors import InputError
from sca.onnx_session import StoppableRun, open_session
from sca.textutil import first_line

__all__ = ["MARKS", "RATE_HZ", "KokoroModel"]

RATE_HZ = 24_000
MARKS = ";:,.!?…"
"""The punctuation after words that changes how they are spoken."""

_LENGTHS = "/encoder/Clip_output_0"
_FEATURES, _PITCH, _ENERGY = "/encoder/MatMul_1_output_0", "/encoder/Reshape_output_0", "/encoder/Reshape_1_output_0"
"""What the decoder gets: `(1, 512, frames)`, and twice `(1, 2 frames)`."""
_STYLE = 256
_MOST_SYMBOLS = 510
_PAD = 0
_LATE_FRAMES = 2
"""The sound of a symbol starts about so many frames before its own: 35 to 65 ms in three voices, after pauses. KPipeline of
hexgrad/kokoro 0.9.4 moves words for the same reason."""

_QUIET = -6.0
"""Frames of less energy are silent: they have -8 to -10, and sounds that are heard more than -5."""
_MARGIN_FRAMES = 4
"""Silent frames that the decoder gets at both ends. With fewer, the first sound begins late."""
_LEVEL = 0.75
"""The decoder normalises over all frames, so speech without its silence is softer: by the share of the frames to this power,
within 0.4 dB in four voices, 0.8 dB in a fifth."""
_EDGE_S = 0.05
_SILENT = 0.01
# fmt: off
_IDS = {
    ";": 1, ":": 2, ",": 3, ".": 4, "!": 5, "?": 6, "—": 9, "…": 10, '"': 11, "(": 12, ")": 13, "“": 14, "”": 15,
    " ": 16, "\u0303": 17, "ʣ": 18, "ʥ": 19, "ʦ": 20, "ʨ": 21, "ᵝ": 22, "ꭧ": 23, "A": 24, "I": 25, "O": 31, "Q": 33,
    "S": 35, "T": 36, "W": 39, "Y": 41, "ᵊ": 42, "a": 43, "b": 44, "c": 45, "d": 46, "e": 47, "f": 48, "h": 50,
    "i": 51, "j": 52, "k": 53, "l": 54, "m": 55, "n": 56, "o": 57, "p": 58, "q": 59, "r": 60, "s": 61, "t": 62,
    "u": 63, "v": 64, "w": 65, "x": 66, "y": 67, "z": 68, "ɑ": 69, "ɐ": 70, "ɒ": 71, "æ": 72, "β": 75, "ɔ": 76,
    "ɕ": 77, "ç": 78, "ɖ": 80, "ð": 81, "ʤ": 82, "ə": 83, "ɚ": 85, "ɛ": 86, "ɜ": 87, "ɟ": 90, "ɡ": 92, "ɥ": 99,
    "ɨ": 101, "ɪ": 102, "ʝ": 103, "ɯ": 110, "ɰ": 111, "ŋ": 112, "ɳ": 113, "ɲ": 114, "ɴ": 115, "ø": 116, "ɸ": 118,
    "θ": 119, "œ": 120, "ɹ": 123, "ɾ": 125, "ɻ": 126, "ʁ": 128, "ɽ": 129, "ʂ": 130, "ʃ": 131, "ʈ": 132, "ʧ": 133,
    "ʊ": 135, "ʋ": 136, "ʌ": 138, "ɣ": 139, "ɤ": 140, "χ": 142, "ʎ": 143, "ʒ": 147, "ʔ": 148, "ˈ": 156, "ˌ": 157,
    "ː": 158, "ʰ": 162, "ʲ": 164, "↓": 169, "→": 171, "↗": 172, "↘": 173, "ᵻ": 177,
}
# fmt: on


class KokoroModel:
    """The model in memory, with one voice. Calls may come from several threads.

    Args:
        path: The ONNX file.

    Raises:
        InputError: The file is not this model.
    """

    def __init__(self, path: Path) -> None:
        cut = [_FEATURES, _PITCH, _ENERGY]
        try:
            # Without this entry, 8-bit products saturate on processors with AVX2 but without VNNI.
            config = {"session.x64quantprecision": "1"}
            content = path.read_bytes()
            self._encoder: Any = open_session(part_between(content, [], [_LENGTHS, *cut]), config=config)
            self._decoder: Any = open_session(part_between(content, cut, ["audio"]), config=config)
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}") from error
        except Exception as error:  # the classes of onnxruntime are private
            raise InputError(f"{path} is not the Kokoro model: {first_line(error)}") from error
        self._styles = np.zeros((_MOST_SYMBOLS, _STYLE), np.float32)

    def with_voice(self, path: Path) -> "KokoroModel":
        """Return the same model with a voice, without loading it again.

        Args:
            path: A file of float32 styles, one of 256 numbers for each number of phonemes.

        Raises:
            InputError: The file is not a voice.
        """
        try:
            styles = np.fromfile(path, "<f4")
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}") from error
        if styles.size != _MOST_SYMBOLS * _STYLE or not np.isfinite(styles).all():
            raise InputError(f"{path} is not a voice of Kokoro", hint="sca models get kokoro repairs it")
        model = object.__new__(KokoroModel)
        model._encoder, model._decoder = self._encoder, self._decoder
        model._styles = styles.reshape(_MOST_SYMBOLS, _STYLE)
        return model

    def synthesise(
        self, symbols: Sequence[str], run: StoppableRun | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return the audio of some symbols, and where each one starts and the last one ends.

        Args:
            symbols: Phonemes, stress marks, spaces and punctuation of the vocabulary. Others have no length.
            run: Stops the model.

        Returns:
            Float32 `(n,)`, and sample positions `(len(symbols) + 1,)`.

        Raises:
            StoppedRunError: The model was stopped.
        """
        run = StoppableRun() if run is None else run
        audio: list[NDArray[np.float32]] = []
        starts: list[NDArray[np.int64]] = []
        at, end = 0, np.zeros(1, np.int64)
        for part in _windows(symbols):
            samples, places = self._window(part, run)
            audio.append(samples)
            starts.append(places[:-1] + at)
            end = places[-1:] + at
            at += len(samples)
        return np.concatenate(audio), np.concatenate([*starts, end])

    def _window(self, symbols: Sequence[str], run: StoppableRun) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        ids = [_IDS[symbol] for symbol in symbols if symbol in _IDS]
        if not ids:
            return np.zeros(0, np.float32), np.zeros(len(symbols) + 1, np.int64)
        style = self._styles[len(ids) - 1][None]
        feeds = {"tokens": np.array([[_PAD, *ids, _PAD]], np.int64), "style": style, "speed": np.ones(1, np.float32)}
        lengths, features, pitch, energy = run.run(self._encoder, feeds)
        frames = lengths.reshape(-1)
        first, end = _sounding(energy.reshape(-1, 2).mean(1))
        inputs = {
            "style": style,
            _FEATURES: features[..., first:end],
            _PITCH: pitch[..., 2 * first : 2 * end],
            _ENERGY: energy[..., 2 * first : 2 * end],
        }
        audio = np.asarray(run.run(self._decoder, inputs)[0], np.float32).reshape(-1)
        audio *= np.float32((frames.sum() / (end - first)) ** _LEVEL)
        hop = len(audio) // (end - first)
        # The start of each symbol, and the end of the last one.
        places = np.cumsum(frames[:-1]).astype(np.int64) - _LATE_FRAMES - first
        edges = np.clip(places, 0, end - first) * hop
        known = np.cumsum([0, *(symbol in _IDS for symbol in symbols)])
        return _without_edges(audio, edges[known])


def _sounding(energy: NDArray[np.float32]) -> tuple[int, int]:
    """Return the first frame that the decoder needs, and the frame after the last one.

    Args:
        energy: The energy of each frame, a logarithm.
    """
    loud = np.flatnonzero(energy > _QUIET)
    if not len(loud):
        return 0, len(energy)
    return max(int(loud[0]) - _MARGIN_FRAMES, 0), min(int(loud[-1]) + 1 + _MARGIN_FRAMES, len(energy))


def _windows(symbols: Sequence[str]) -> Iterator[Sequence[str]]:
    """Divide symbols into parts that the model accepts, at spaces if there are any."""
    at = 0
    while len(symbols) - at > _MOST_SYMBOLS:
        most = at + _MOST_SYMBOLS
        space = next((place for place in range(most - 1, at, -1) if symbols[place] == " "), None)
        end = most if space is None else space + 1
        yield symbols[at:end]
        at = end
    yield symbols[at:]


def _without_edges(
    audio: NDArray[np.float32], starts: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Cut the silence at both ends, except for 50 ms, because clauses follow each other. Sounds are not cut."""
    loud = np.flatnonzero(np.abs(audio) > _SILENT)
    if not len(loud):
        return audio, starts
    edge = int(_EDGE_S * RATE_HZ)
    first, end = max(int(loud[0]) - edge, 0), min(int(loud[-1]) + 1 + edge, len(audio))
    return audio[first:end], np.clip(starts - first, 0, end - first)
