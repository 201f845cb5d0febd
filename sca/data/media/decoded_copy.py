"""A decoded copy of a file for ffmpeg: of files that the ffmpeg program cannot read to their end, and `sca.audio` can.

These are joined files, of which ffmpeg drops every part whose clock starts again; files with packets that cannot be
decoded; and formats in which the program crashes (static builds of version 7 do on every MPEG transport stream). The
program of imageio-ffmpeg gets copies of all files: it is old, and does not read recordings of others.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from sca.audio.decode import AS_DEFAULT, BlockReader, Reading, probe
from sca.audio.decoder.remote import selected_track
from sca.errors import writing
from sca.files.atomic import cannot_write

__all__ = ["DecodedCopy", "write_decoded"]


@dataclass(frozen=True, slots=True)
class DecodedCopy:
    """What was written.

    Attributes:
        path: A WAV file with float samples at the rate of the source.
        seconds: Its length.
        notes: Remarks about the source.
        explains_damage: Whether packets that ffmpeg cannot decode are known: tags between joined parts, accepted holes,
            a missing end.
    """

    path: Path
    seconds: float
    notes: tuple[str, ...]
    explains_damage: bool


def write_decoded(
    source: Path,
    target: Path,
    channels: int,
    checkpoint: Callable[[], None],
    *,
    reading: Reading = AS_DEFAULT,
) -> DecodedCopy:
    """Decode a file into a WAV file, which may have any name.

    Args:
        source: The file.
        target: The copy.
        channels: The channels that are wanted, 1 or 2; the copy of a mono source has one.
        checkpoint: Called for every block; an exception that it raises ends the decoding.
        reading: How recordings are read.

    Raises:
        InputError: The source cannot be read to its end.
        OutputError: The copy cannot be written.
    """
    mono = channels == 1 or probe(source, reading).channels == 1
    with BlockReader(source, mono=mono, reading=reading) as reader:
        rate_hz, several = reader.info.rate_hz, not mono and reader.info.channels > 2
        weights = np.array(selected_track(source, reading).stereo_weights, np.float32).T if several else None
        options = {"format": "RF64", "subtype": "FLOAT"}
        with writing(target), soundfile.SoundFile(target, "w", rate_hz, 1 if mono else 2, **options) as file:
            for block in reader:
                checkpoint()
                try:
                    file.write(block if weights is None else block @ weights)
                except (soundfile.LibsndfileError, AssertionError) as error:  # it wrote fewer samples: a full disk
                    raise cannot_write(target, error) from error
        return DecodedCopy(target, reader.frames / rate_hz, reader.notes, reader.explains_damage)
