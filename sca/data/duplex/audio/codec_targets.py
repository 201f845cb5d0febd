"""Codec targets: the speaker's audio as Mimi codes (16 codebooks, 12.5 frames per second), for a talker to predict.

A track is encoded once, from start to end, with the codec's caches carried over. The codes of a row therefore depend on
the session before the row, and equal those of the whole track encoded at once. Needs torch (extra `live`).
"""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile
from numpy.typing import NDArray

from sca.config import Settings
from sca.distribution import install_extra
from sca.errors import ConfigError, InputError, MissingToolError, UpstreamError
from sca.models.pinned import revision_of
from sca.textutil import counted, first_line
from sca.units import SPOKEN_HZ, Grid

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "CODEBOOKS",
    "CODEBOOK_SIZE",
    "NO_CODE",
    "MimiEncoder",
    "broken_codes",
    "codes_column",
    "frames_of",
    "load_codec",
]

CODEBOOKS = 16
CODEBOOK_SIZE = 2048
NO_CODE = -1
"""The code of chunks past the end of the recording."""
_FRAME_SAMPLES = 1920  # 80 ms at 24 kHz
_BLOCK_FRAMES = 250


def frames_of(grid: Grid) -> int:
    """Return the codec frames per chunk.

    Raises:
        ConfigError: The chunks of the grid are not a whole number of frames.
    """
    frames, rest = divmod(grid.spoken_samples, _FRAME_SAMPLES)
    if rest or not frames:
        raise ConfigError(
            f"a chunk of {float(grid.chunk_s):g} s is not a whole number of Mimi's frames of 0.08 s",
            hint="--codes mimi needs 12.5 frames per second, which is the default",
        )
    return frames


def load_codec(settings: Settings) -> "MimiEncoder | None":
    """Load the codec that the settings name, once per process.

    Returns:
        The codec, or None if the settings have none.

    Raises:
        ConfigError: See `frames_of`.
        MissingToolError, UpstreamError, InputError: See `MimiEncoder`.
    """
    duplex = settings.duplex
    if duplex.codes == "none":
        return None
    return _load(duplex.codes_model, settings.paths.resolved_cache_dir, frames_of(settings.grid))


@cache
def _load(model: str, cache_dir: Path, frames: int) -> "MimiEncoder":
    return MimiEncoder(model, frames, str(cache_dir / "models"))


class MimiEncoder:
    """The encoder of a Mimi codec.

    Args:
        model: A hub id or a folder.
        frames: Codec frames per chunk.
        cache_dir: The folder for downloaded models.

    Raises:
        MissingToolError: torch or transformers is not installed.
        UpstreamError: The model cannot be loaded.
        InputError: The model is not a Mimi with 16 codebooks or more.
    """

    def __init__(self, model: str, frames: int, cache_dir: str | None = None) -> None:
        try:
            import torch
            from transformers import AutoConfig, MimiModel
        except ImportError as error:
            raise MissingToolError(
                f"--codes mimi needs torch and transformers ({error.name} is not installed)", hint=install_extra("live")
            ) from error
        hint = "give the hub id or the folder of a Mimi model with --codes-model"
        try:
            revision = revision_of(model, cache_dir=cache_dir)
            config = AutoConfig.from_pretrained(model, revision=revision, cache_dir=cache_dir, trust_remote_code=False)
            kind = (config.model_type, getattr(config, "sampling_rate", None), getattr(config, "frame_rate", None))
            if kind != ("mimi", SPOKEN_HZ, SPOKEN_HZ / _FRAME_SAMPLES):
                raise InputError(
                    f"{model} is a {kind[0]} model, not a Mimi of 24 kHz and 12.5 frames per second", hint=hint
                )
            if config.num_quantizers < CODEBOOKS or config.codebook_size != CODEBOOK_SIZE:
                raise InputError(
                    f"{model} has {config.num_quantizers} codebooks of {config.codebook_size}, not {CODEBOOKS} of "
                    f"{CODEBOOK_SIZE}",
                    hint=hint,
                )
            self._model: MimiModel = MimiModel.from_pretrained(model, revision=revision, cache_dir=cache_dir).eval()
        except (OSError, ValueError) as error:
            raise UpstreamError(f"the codec {model} cannot be loaded: {first_line(error)}", hint=hint) from error
        self._torch = torch
        self.frames = frames

    def encode(self, spoken: Path, n_chunks: int) -> NDArray[np.int16]:
        """Encode a track.

        Args:
            spoken: The track at 24 kHz.
            n_chunks: Its length in chunks; a track that ends within a chunk is padded with zeros.

        Returns:
            The codes, int16 `(n_chunks, 16, frames)`.
        """
        torch, left = self._torch, n_chunks * self.frames * _FRAME_SAMPLES
        blocks, keys, padding = [], None, None
        with soundfile.SoundFile(spoken) as file, torch.no_grad():
            while left:
                block = np.zeros(min(left, _BLOCK_FRAMES * _FRAME_SAMPLES), np.float32)
                read = file.read(len(block), dtype="float32")
                block[: len(read)] = read
                left -= len(block)
                encoded = self._model.encode(
                    torch.from_numpy(block)[None, None],
                    num_quantizers=CODEBOOKS,
                    encoder_past_key_values=keys,
                    padding_cache=padding,
                    use_streaming=True,
                )
                blocks.append(encoded.audio_codes[0].numpy().astype(np.int16))
                keys, padding = encoded.encoder_past_key_values, encoded.padding_cache
        codes: NDArray[np.int16] = np.concatenate(blocks, axis=1).reshape(CODEBOOKS, n_chunks, self.frames)
        return np.ascontiguousarray(codes.transpose(1, 0, 2))


def codes_column(codes: NDArray[np.int16] | None) -> "pa.ListArray":
    """Return one cell of the column `codes`.

    Args:
        codes: Codes `(n_chunks, 16, frames)`; None makes a null.

    Returns:
        One list per chunk, with the frames of one codebook after those of the other.
    """
    import pyarrow as pa

    kind = pa.list_(pa.list_(pa.int16()))
    if codes is None:
        return pa.nulls(1, kind)
    n_chunks, _, frames = codes.shape
    chunk_codes = CODEBOOKS * frames
    inner = pa.ListArray.from_arrays(
        pa.array(np.arange(n_chunks + 1, dtype=np.int32) * chunk_codes), pa.array(codes.reshape(-1))
    )
    return pa.ListArray.from_arrays(pa.array([0, n_chunks], pa.int32()), inner)


def broken_codes(codes: NDArray[np.int16] | None, wanted: bool, n_chunks: int, frames: int) -> str | None:
    """Return what is wrong with a track's stored codes, or None.

    Args:
        codes: The codes, `(n_chunks, 16 * frames)`; None if the track has none.
        wanted: Whether the track should have codes.
        n_chunks: The length of the track in chunks.
        frames: Codec frames per chunk.
    """
    if codes is None or not wanted:
        return None if wanted is (codes is not None) else f"has {'no codec codes' if wanted else 'codec codes'}"
    if codes.shape != (n_chunks, CODEBOOKS * frames):
        return f"has codec codes of shape {codes.shape}, not {(n_chunks, CODEBOOKS * frames)}"
    outside = int(((codes < 0) | (codes >= CODEBOOK_SIZE)).sum())
    return f"has {counted(outside, 'codec code')} outside 0 to {CODEBOOK_SIZE - 1}" if outside else None
