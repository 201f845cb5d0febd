"""Small recordings of all kinds, damaged at random, and read through a decoder process."""

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sca.audio import decode
from sca.audio.decode import ANY_DAMAGE, BlockReader
from sca.errors import InputError
from tests.helpers.coded_parts import JOINABLE, Part, remuxed, tone, write_part

SNDFILE = {
    "wav": {},
    "flac": {},
    "ogg": {},
    "aiff": {},
    "au": {},
    "caf": {},
    "w64": {},
    "voc": {},
    "ircam": {"format": "IRCAM"},
}
SNDFILE |= {
    "sph": {"format": "NIST"},
    "alac.caf": {"subtype": "ALAC_16"},
    "mat": {"format": "MAT5"},
    "rf64": {"format": "RF64"},
}
PART = Part("stereo", 16_000, 440.0, 0.3)
SIZES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def write_corpus(folder: Path) -> list[Path]:
    """Write a short recording of every kind."""
    part = Part("stereo", 48_000, 440.0, 0.3)
    files = [write_part(folder / f"coded.{kind}", kind, part) for kind in (*JOINABLE, "m4a")]
    files.append(remuxed(folder / "coded.mp3", folder / "coded.mp3.wav", "wav"))
    samples = np.repeat(tone(PART)[:, None], 2, axis=1)
    for kind, options in SNDFILE.items():
        path = folder / f"plain.{kind}"
        soundfile.write(path, samples, PART.rate_hz, **({"format": kind.rpartition(".")[2].upper()} | options))
        files.append(path)
    return files


def mutated(rng: random.Random, content: bytes, other: bytes) -> bytes:
    """Return a damaged copy of a file, most often damaged near its beginning."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 2, 4, 16))):
        at = rng.randrange(min(len(data), rng.choice((64, 512, len(data)))) or 1)
        match rng.randrange(6):
            case 0:
                data[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                size = rng.choice((1, 2, 4, 8))
                data[at : at + size] = (rng.choice(SIZES) % 256**size).to_bytes(size, rng.choice(("big", "little")))
            case 2:
                del data[at : at + rng.choice((1, 4, 100, len(data)))]
            case 3:
                data[at:at] = data[rng.randrange(len(data) or 1) :][: rng.choice((4, 100, 2000))]
            case 4:
                start = rng.randrange(len(other))
                data[at:at] = other[start : start + rng.choice((4, 100, 2000))]
            case _:
                data[at : at + 8] = rng.randbytes(8)
    return bytes(data) or b"\0"


def outcomes(files: list[Path], folder: Path, seeds: Iterator[int]) -> Iterator[tuple[int, Path, str]]:
    """Read damaged copies of files, all of them in decoder processes, and yield what became of each.

    Args:
        files: The recordings.
        folder: Where a copy is written.
        seeds: The seed of each copy.

    Yields:
        The seed, the copy, and `read` or the message of the error without the path.

    Raises:
        Exception: Any that is not an `InputError`: a fault.
    """
    contents = [path.read_bytes() for path in files]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decode, "is_read_here", lambda _: False)
        for seed in seeds:
            rng = random.Random(seed)
            chosen = rng.randrange(len(files))
            copy = folder / f"copy{files[chosen].suffix}"
            copy.write_bytes(mutated(rng, contents[chosen], rng.choice(contents)))
            try:
                with BlockReader(copy, reading=ANY_DAMAGE) as reader:
                    for block in reader:
                        assert np.isfinite(block).all()
                        if reader.frames > 30 * reader.info.rate_hz:
                            break
            except InputError as error:
                yield seed, copy, error.message.replace(str(copy), "").strip()
            else:
                yield seed, copy, "read"
