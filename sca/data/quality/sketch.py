"""Sketches of recordings: a fixed share of all their landmarks, so that a short part of a long recording has its own ones.

A fingerprint (`sca.data.quality.fingerprint`) has 64 landmarks of a recording of any length, of which a trailer of a talk has too
few. A sketch has those with a hash below a limit, about one per second (FracMinHash, as in sourmash: L. Irber et al., "Lightweight
compositional analysis of metagenomes with FracMinHash", bioRxiv 2022): the same ones in every part of a recording. It has the
length and bandwidth too, by which the better one of two copies is known.
"""

import io
from collections.abc import Mapping
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sca.audio.coded.reading import Reading
from sca.audio.decode import BlockReader, probe
from sca.audio.resample import StreamResampler
from sca.cores import usable_cores
from sca.data.quality.fingerprint import Fingerprinter
from sca.data.quality.signal import SignalMeter
from sca.data.runs.executor import guarded
from sca.data.runs.files import atomic_write
from sca.data.runs.local import ThreadExecutor
from sca.errors import OutputError, ScaError
from sca.units import HEARD_HZ

__all__ = ["Sketch", "sketch_of", "sketched", "sketches_of"]

_LIMIT = np.uint32(2**32 // 50)
_MOST_EQUAL = 4  # a hash that occurs more often is of repeating sound
_BLOCK_FRAMES = 1500
_VERSION = 1


class Sketch(NamedTuple):
    """Landmarks of a recording at an even density.

    Attributes:
        hashes: uint32 `(n,)`, ascending.
        frames: int64 `(n,)`, their times in frames of 24 ms.
        length_s: The length of the recording in seconds.
        bandwidth_hz: Where its spectrum ends; 0 for silence.
    """

    hashes: NDArray[np.uint32]
    frames: NDArray[np.int64]
    length_s: float
    bandwidth_hz: int


def sketched(prints: Fingerprinter, length_s: float, bandwidth_hz: int = 0) -> Sketch:
    """Return the sketch of a recording that was pushed to a fingerprinter.

    Args:
        prints: The fingerprinter, which got all samples.
        length_s: The length of the recording in seconds.
        bandwidth_hz: Where its spectrum ends.
    """
    hashes, frames = prints.landmarks()
    chosen = hashes < _LIMIT
    hashes, frames = hashes[chosen], frames[chosen]
    order = np.lexsort((frames, hashes))
    hashes, frames = hashes[order], frames[order]
    _, inverse, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    rare = counts[inverse] <= _MOST_EQUAL
    return Sketch(hashes[rare], frames[rare], length_s, bandwidth_hz)


def sketch_of(path: Path, reading: Reading) -> Sketch:
    """Return the sketch of a recording, in one pass over it.

    Raises:
        InputError: The recording cannot be decoded.
    """
    rate_hz = probe(path, reading=reading).rate_hz
    meter, prints, resampler = SignalMeter(rate_hz), Fingerprinter(), StreamResampler(rate_hz, HEARD_HZ)
    samples = 0
    for block in BlockReader(path, meter.frame_samples * _BLOCK_FRAMES, reading=reading):
        samples += len(block)
        meter.push(block)
        prints.push(resampler.push(block))
    prints.push(resampler.flush())
    return sketched(prints, samples / rate_hz, meter.finish().bandwidth_hz or 0)


def sketches_of(files: Mapping[str, tuple[Path, str]], folder: Path, reading: Reading) -> dict[str, Sketch]:
    """Return the sketches of recordings by name, without those that cannot be decoded.

    Args:
        files: The files and their SHA-256, by name.
        folder: Where sketches are kept, by the SHA-256 of the file. It is a cache.
        reading: How the recordings are read.
    """
    variant = "".join(f"-{value}" for value in reading.choice().values() if value is not None)
    places = {name: folder / f"{digest}{variant}-{_VERSION}.npz" for name, (_, digest) in files.items()}
    found = {name: sketch for name, place in places.items() if (sketch := _read(place)) is not None}
    missing = [name for name in files if name not in found]
    with closing(
        ThreadExecutor(usable_cores()).run(missing, partial(guarded, lambda name: sketch_of(files[name][0], reading)))
    ) as results:
        for name, result in results:
            if not isinstance(result, ScaError):  # the work on the recording fails with the reason
                found[name] = result
                _write(places[name], result)
    return found


def _read(path: Path) -> Sketch | None:
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as parts:
            facts = parts["facts"]
            return Sketch(parts["hashes"], parts["frames"].astype(np.int64), float(facts[0]), int(facts[1]))
    except (OSError, ValueError, KeyError, IndexError):
        return None


def _write(path: Path, sketch: Sketch) -> None:
    facts = np.array([sketch.length_s, sketch.bandwidth_hz], np.float64)
    with suppress(OutputError), atomic_write(path) as temporary, temporary.open("wb") as file:
        np.savez(file, hashes=sketch.hashes, frames=sketch.frames.astype(np.uint32), facts=facts)
