"""A Piper voice (VITS in ONNX): phoneme ids to audio, with the exact number of samples of every phoneme.

The file has no output for the lengths of phonemes, and draws random numbers inside. So it is divided in two: the text
encoder, which returns the length of every phoneme in frames, and the decoder. Their noise is an input drawn from the
hash of the phonemes: the same text sounds the same in every run.
Source of the scales and of the ids: `piper/voice.py` and `piper/phonemize_espeak.py` of rhasspy/piper 2023.11.14.
"""

import json
import unicodedata
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from sca.audio.onnx_bytes import divide
from sca.errors import InputError
from sca.onnx_session import StoppableRun, open_session
from sca.textutil import first_line

__all__ = ["PiperModel"]

_NOISE = "RandomNormalLike"
_LATENT_NOISE, _LENGTH_NOISE = "/RandomNormalLike_output_0", "/dp/RandomNormalLike_output_0"
_LENGTHS = "/Ceil_output_0"
_MEANS = "/Transpose_3_output_0"
_PAD, _START, _END = "_", "^", "$"


class _Audio(BaseModel):
    sample_rate: int


class _Espeak(BaseModel):
    voice: str


class _Inference(BaseModel):
    noise_scale: float = 0.667
    length_scale: float = 1.0
    noise_w: float = 0.8


class _Config(BaseModel):
    """The fields of `VOICE.onnx.json` that are used. Piper adds others in every version, so they are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    audio: _Audio
    espeak: _Espeak
    inference: _Inference = _Inference()
    phoneme_id_map: dict[str, list[int]]
    num_speakers: int = 1


class PiperModel:
    """A voice in memory. Calls may come from several threads.

    Args:
        path: The ONNX file; its configuration is beside it, with `.json` after the name.

    Attributes:
        sample_rate: The rate of the audio, in Hz.
        language: The voice of espeak-ng that gives the phonemes.

    Raises:
        InputError: The files are not a Piper voice.
    """

    def __init__(self, path: Path) -> None:
        try:
            config = _Config.model_validate(json.loads(Path(f"{path}.json").read_text(encoding="utf-8")))
            encoder, decoder = divide(path.read_bytes(), _LATENT_NOISE, _NOISE, [_LENGTHS])
            self._encoder: Any = open_session(encoder)
            self._decoder: Any = open_session(decoder)
        except (OSError, ValueError, ValidationError) as error:
            raise InputError(f"{path} is not a Piper voice: {first_line(error)}") from error
        except Exception as error:  # the classes of onnxruntime are private
            raise InputError(f"{path} cannot be loaded: {first_line(error)}") from error
        self._ids = config.phoneme_id_map
        scales = config.inference
        self._scales = np.array([scales.noise_scale, scales.length_scale, scales.noise_w], np.float32)
        self._shared = [output.name for output in self._encoder.get_outputs()][1:]
        self.sample_rate = config.audio.sample_rate
        self.language = config.espeak.voice

    def synthesise(
        self, symbols: Sequence[str], run: StoppableRun | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return the audio of some phonemes, and where each one starts and the last one ends.

        Args:
            symbols: One character each: phonemes in IPA, stress marks, spaces, punctuation. Those that the voice does
                not know have no length.
            run: Stops the model.

        Returns:
            Float32 `(n,)`, and sample positions `(len(symbols) + 1,)`. The pad after a symbol belongs to it.

        Raises:
            StoppedRunError: The model was stopped.
        """
        run = StoppableRun() if run is None else run
        ids, owners = self._phoneme_ids(symbols)
        random = np.random.default_rng(zlib.crc32(ids.tobytes()))
        count = len(ids)
        feeds = {
            "input": ids[None],
            "input_lengths": np.array([count], np.int64),
            "scales": self._scales,
            _LENGTH_NOISE: random.standard_normal((1, 2, count), np.float32),
        }
        lengths, *shared = run.run(self._encoder, feeds)
        inputs = dict(zip(self._shared, shared, strict=True))
        inputs[_LATENT_NOISE] = random.standard_normal(inputs[_MEANS].shape, np.float32)
        audio = np.asarray(run.run(self._decoder, inputs)[0], np.float32).reshape(-1)
        frames = lengths.reshape(-1).astype(np.int64)
        hop = len(audio) // max(int(frames.sum()), 1)
        ends = np.cumsum(frames) * hop
        starts = np.searchsorted(owners, np.arange(len(symbols) + 1))  # the first id of each symbol
        return audio, np.concatenate([[0], ends])[starts]

    def _phoneme_ids(self, symbols: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the ids, with a pad after each one, and the symbol that each id belongs to: -1 before the first."""
        ids = [*self._ids[_START], *self._ids[_PAD]]
        owners = [-1] * len(ids)
        for number, symbol in enumerate(symbols):
            for part in unicodedata.normalize("NFD", symbol):
                for phoneme in self._ids.get(part, ()):
                    ids += [phoneme, *self._ids[_PAD]]
                    owners += [number] * (1 + len(self._ids[_PAD]))
        ids += self._ids[_END]
        owners += [len(symbols)] * len(self._ids[_END])
        return np.array(ids, np.int64), np.array(owners, np.int64)
