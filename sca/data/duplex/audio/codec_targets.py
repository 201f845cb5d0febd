"""Codec targets: what a speaker says as codes of Mimi (16 codebooks, 12.5 frames a second), as a talker is to produce them.

A track is encoded once, from its start to its end, with the codec's caches carried on: so a row's codes have heard all of the
session before the row, and are those of the whole track encoded at once. Needs torch (extra `live`).
"""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from sca.config import Settings
from sca.errors import ConfigError, InputError, MissingToolError, UpstreamError
from sca.textutil import counted, first_line
from sca.units import SPOKEN_HZ, Grid

__all__ = [
    "CODEBOOKS",
    "CODEBOOK_SIZE",
    "NO_CODE",
    "MimiCodes",
    "broken_codes",
    "coder_of",
    "codes_column",
    "frames_of",
]

CODEBOOKS = 16
CODEBOOK_SIZE = 2048
NO_CODE = -1
"""Stands where a row goes on after its recording has ended."""
_FRAME_SAMPLES = 1920  # 80 ms at 24 kHz
_BLOCK_FRAMES = 250


def frames_of(grid: Grid) -> int:
    """Codec frames a chunk. Raises `ConfigError` for a grid whose chunks are no whole number of them."""
    frames, left = divmod(grid.spoken_samples, _FRAME_SAMPLES)
    if left or not frames:
        raise ConfigError(
            f"a chunk of {float(grid.chunk_s):g} s is no whole number of Mimi's frames of 0.08 s",
            hint="--codes mimi needs 12.5 frames a second, as by default",
        )
    return frames


def coder_of(settings: Settings) -> "MimiCodes | None":
    """The codec that the settings ask for, loaded once a process; None for none. Raises what `MimiCodes` and `frames_of` do."""
    duplex = settings.duplex
    if duplex.codes == "none":
        return None
    return _load(duplex.codes_model, settings.paths.resolved_cache_dir, frames_of(settings.grid))


@cache
def _load(model: str, cache_dir: Path, frames: int) -> "MimiCodes":
    return MimiCodes(model, frames, str(cache_dir / "models"))


class MimiCodes:
    """The codec. model: a hub id or a folder.   frames: that make a chunk.

    Raises `MissingToolError` without torch, `UpstreamError` where the model cannot be loaded, `InputError` where it is another.
    """

    def __init__(self, model: str, frames: int, cache_dir: str | None = None) -> None:
        try:
            import torch
            from transformers import AutoConfig, MimiModel
        except ImportError as error:
            raise MissingToolError(
                f"--codes mimi needs torch and transformers ({error.name} is not installed)", hint="install sca[live]"
            ) from error
        hint = "give the hub id or the folder of a Mimi model with --codes-model"
        try:
            config = AutoConfig.from_pretrained(model, cache_dir=cache_dir)
            made = (config.model_type, getattr(config, "sampling_rate", None), getattr(config, "frame_rate", None))
            if made != ("mimi", SPOKEN_HZ, SPOKEN_HZ / _FRAME_SAMPLES):
                raise InputError(
                    f"{model} is a {made[0]} model, not a Mimi of 24 kHz and 12.5 frames a second", hint=hint
                )
            if config.num_quantizers < CODEBOOKS or config.codebook_size != CODEBOOK_SIZE:
                raise InputError(
                    f"{model} has {config.num_quantizers} codebooks of {config.codebook_size}, not {CODEBOOKS} of "
                    f"{CODEBOOK_SIZE}",
                    hint=hint,
                )
            self._model: Any = MimiModel.from_pretrained(model, cache_dir=cache_dir).eval()
        except (OSError, ValueError) as error:
            raise UpstreamError(f"the codec {model} cannot be loaded: {first_line(error)}", hint=hint) from error
        self._torch = torch
        self.frames = frames

    def encode(self, spoken: Path, n_chunks: int) -> NDArray[np.int16]:
        """The codes of a 24 kHz track, int16 `(n_chunks, 16, frames)`; zeros of sound are added where it ends within a chunk."""
        torch, left = self._torch, n_chunks * self.frames * _FRAME_SAMPLES
        found, keys, padding = [], None, None
        with soundfile.SoundFile(spoken) as file, torch.no_grad():
            while left:
                block = np.zeros(min(left, _BLOCK_FRAMES * _FRAME_SAMPLES), np.float32)
                read = file.read(len(block), dtype="float32")
                block[: len(read)] = read
                left -= len(block)
                made = self._model.encode(
                    torch.from_numpy(block)[None, None],
                    num_quantizers=CODEBOOKS,
                    encoder_past_key_values=keys,
                    padding_cache=padding,
                    use_streaming=True,
                )
                found.append(made.audio_codes[0].numpy().astype(np.int16))
                keys, padding = made.encoder_past_key_values, made.padding_cache
        codes: NDArray[np.int16] = np.concatenate(found, axis=1).reshape(CODEBOOKS, n_chunks, self.frames)
        return np.ascontiguousarray(codes.transpose(1, 0, 2))


def codes_column(codes: NDArray[np.int16] | None) -> Any:
    """One cell of the column `codes`: a list a chunk, of its codebooks' frames one codebook after the other; or null."""
    import pyarrow as pa

    kind = pa.list_(pa.list_(pa.int16()))
    if codes is None:
        return pa.nulls(1, kind)
    n_chunks, _, frames = codes.shape
    each = CODEBOOKS * frames
    inner = pa.ListArray.from_arrays(
        pa.array(np.arange(n_chunks + 1, dtype=np.int32) * each), pa.array(codes.reshape(-1))
    )
    return pa.ListArray.from_arrays(pa.array([0, n_chunks], pa.int32()), inner)


def broken_codes(codes: NDArray[np.int16] | None, wanted: bool, n_chunks: int, frames: int) -> str | None:
    """What is wrong with a track's stored codes, if anything is. wanted: whether it has to have any."""
    if codes is None or not wanted:
        return None if wanted is (codes is not None) else f"has {'no codec codes' if wanted else 'codec codes'}"
    if codes.shape != (n_chunks, CODEBOOKS * frames):
        return f"has codec codes of shape {codes.shape}, not {(n_chunks, CODEBOOKS * frames)}"
    outside = int(((codes < 0) | (codes >= CODEBOOK_SIZE)).sum())
    return f"has {counted(outside, 'codec code')} outside 0 to {CODEBOOK_SIZE - 1}" if outside else None
