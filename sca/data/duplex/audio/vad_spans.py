"""Speech of a track by voice activity detection: for tracks without a transcript, and as evidence for those with one."""

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile
from numpy.typing import NDArray

from sca.audio.pcm import int16_to_float32
from sca.audio.vad import SileroVad, speech_segments
from sca.audio.vad_scan import ScanVad, VadScan
from sca.data.duplex.model.spans import Span
from sca.data.quality.fingerprint import Fingerprinter
from sca.units import HEARD_HZ

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Listened", "TrackListener", "amplified", "fingerprint_of", "listen", "shared_scan", "shared_vad"]

_BLOCK = 60 * HEARD_HZ
# The model finds no speech with a peak of -60 dBFS. More than 40 dB would amplify the noise of 16 bits to -60 dBFS.
_LOW_PEAK, _WANTED_PEAK, _MOST_GAIN = 10**-1.5, 0.1, 100.0


@dataclass(frozen=True, slots=True)
class Listened:
    """What one pass over a recording finds.

    Attributes:
        speech: The spans of speech, in order.
        peak: Largest magnitude.
        fingerprint: Its fingerprint, see `sca.data.quality.fingerprint`.
    """

    speech: list[Span]
    peak: float
    fingerprint: str


@cache
def shared_vad() -> SileroVad:
    """Return the model, loaded once per process."""
    return shared_scan().plain


@cache
def shared_scan() -> ScanVad:
    """Return the model for whole recordings, loaded once per process."""
    return ScanVad()


class TrackListener:
    """Finds the speech of a mono track at 16 kHz whose samples are at hand in blocks, so that none is decoded again.

    Args:
        every_frame: Whether the model runs over every frame as in a stream, for spans that are stored. Otherwise it
            leaves out stretches without sound, which costs less; see `sca.audio.vad_scan`.
        gain: Factor of the samples that the model gets.
    """

    def __init__(self, *, every_frame: bool = False, gain: float = 1.0) -> None:
        self._gain = np.float32(gain)
        self._samples, self._peak = 0, 0
        self._stream = shared_vad().stream() if every_frame else None
        self._scan = VadScan(shared_scan())
        self._found: list[NDArray[np.float32]] = []
        self._prints = Fingerprinter()

    def push(self, block: NDArray[np.int16]) -> None:
        """Add samples `(n,)`."""
        self._samples += len(block)
        self._peak = max(self._peak, int(block.max(initial=0)), -int(block.min(initial=0)))
        samples = int16_to_float32(block)
        self._prints.push(samples)
        if self._stream is not None:
            self._found.append(self._stream.push(samples * self._gain))
        else:
            self._scan.push(samples * self._gain)

    def finish(self) -> Listened:
        """Return what was found in all samples."""
        probabilities = np.concatenate([*self._found, self._scan.finish()])
        speech = speech_segments(probabilities, total_samples=self._samples)
        return Listened(speech, self._peak / 32768, self._prints.finish())


def listen(heard: "Path | pa.Buffer") -> Listened:
    """Find the speech, the peak and the fingerprint of a mono file at 16 kHz. Reads it in blocks.

    Args:
        heard: The file, or its content.
    """
    return amplified(_listen(heard, 1.0), heard)


def amplified(found: Listened, heard: "Path | pa.Buffer") -> Listened:
    """Return what was found in a recording, with the speech at a higher level if its peak is below -30 dBFS.

    Args:
        found: What was found.
        heard: The file, or its content. It is read only if the peak is low.
    """
    if not 0 < found.peak < _LOW_PEAK:
        return found
    return replace(found, speech=_listen(heard, min(_WANTED_PEAK / found.peak, _MOST_GAIN)).speech)


def _listen(heard: "Path | pa.Buffer", gain: float) -> Listened:
    import pyarrow as pa

    listener = TrackListener(gain=gain)
    with soundfile.SoundFile(heard if isinstance(heard, Path) else pa.BufferReader(heard)) as file:
        while len(block := file.read(_BLOCK, dtype="int16")):
            listener.push(block)
    return listener.finish()


def fingerprint_of(heard: "Path | pa.Buffer") -> str:
    """Return the fingerprint of a mono file at 16 kHz, as `listen` does, without finding its speech."""
    import pyarrow as pa

    prints = Fingerprinter()
    with soundfile.SoundFile(heard if isinstance(heard, Path) else pa.BufferReader(heard)) as file:
        while len(block := file.read(_BLOCK, dtype="int16")):
            prints.push(int16_to_float32(block))
    return prints.finish()
