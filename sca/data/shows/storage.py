"""The columns of a show data set, and the file with the audio of one show.

`storage` has one row per show: its audio at 16 kHz, its audio at 24 kHz (enhanced if an enhancer is set), and its
speaker embedding. `train` has one row per target. Audio is stored as FLAC bytes and declared with decode=False, so that
the data set can be opened without an audio decoder.
"""

import shutil
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile
from numpy.typing import NDArray

from sca.audio.decode import AS_DEFAULT, BlockReader, Reading
from sca.audio.resample import StreamResampler
from sca.data.datasets.arrow import audio_cells, write_table
from sca.data.datasets.features import Audio, Features, List, Value
from sca.data.duplex.audio.encode_tracks import EncodedTrack, encode_tracks
from sca.data.media.enhance import Enhancer, enhanced_stream
from sca.data.shows.paths import storage_file
from sca.data.speakers.base import EMBEDDING_SIZE
from sca.data.speakers.embedder import SpeakerEmbedder
from sca.errors import writing
from sca.timeline import ComedianEvent, Show
from sca.units import HEARD_HZ, SPOKEN_HZ, seconds_to_samples

if TYPE_CHECKING:
    from pyarrow import StructArray

__all__ = ["KIND", "MADE_BY", "SCHEMA_VERSION", "features", "remove_unfinished", "write_storage"]

SCHEMA_VERSION = 1
KIND = "show"
"""What error messages call a data set of this schema."""
MADE_BY = "sca convert"

_SCRATCH = ".scratch-"
"""The start of the name of a folder for one show, beside the audio files."""
# The longest speech that is collected for the speaker embedding. The embedder uses five minutes of it, evenly spaced.
_MAX_SPEECH_SAMPLES = 900 * HEARD_HZ


@cache
def features(split: str) -> Features:
    """Return the columns of `storage` or `train`."""
    if split == "storage":
        return Features(
            {
                "session_id": Value("string"),
                "audio": Audio(sampling_rate=HEARD_HZ),
                "clean_audio": Audio(sampling_rate=SPOKEN_HZ),
                "speaker_embedding": List(Value("float32"), length=EMBEDDING_SIZE),
            }
        )
    return Features(
        {
            "session_id": Value("string"),
            "start_sec": Value("float64"),
            "end_sec": Value("float64"),
            "target_start_sec": Value("float64"),
            "target_end_sec": Value("float64"),
            "target_text": Value("string"),
            "event_index": Value("int32"),
        }
    )


def write_storage(
    path: Path,
    show: Show,
    audio: Path,
    embedder: SpeakerEmbedder,
    enhancer: Enhancer | None,
    *,
    reading: Reading = AS_DEFAULT,
) -> tuple[EncodedTrack, bool]:
    """Encode the audio of one show into its Arrow file.

    Args:
        path: The Arrow file.
        show: The show.
        audio: Its recording.
        embedder: Computes the speaker embedding of its speech.
        enhancer: Enhances the audio at 24 kHz; None leaves it as it is.
        reading: How recordings are read.

    Returns:
        What was measured of the recording, and whether the show has an embedding.

    Raises:
        InputError: The audio cannot be decoded.
        OutputError: The file cannot be written.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=path.parent)
    with scratch as name:
        folder = Path(name)
        sources = [audio]
        if enhancer is not None:
            sources.append(_write_enhanced(audio, folder / "enhanced.wav", enhancer, reading))
        tracks = encode_tracks(sources, folder, "flac", reading=reading)
        original, clean = tracks[0], tracks[-1]
        embedding = embedder.embed(_read_speech(show, original.heard))
        row = {
            "session_id": [show.video_id],
            "audio": _audio_cell(original.heard, f"{path.stem}_16k.flac"),
            "clean_audio": _audio_cell(clean.spoken, f"{path.stem}_24k.flac"),
            "speaker_embedding": [None if embedding is None else embedding.tolist()],
        }
        write_table(path, features("storage"), [row])
    return original, embedding is not None


def remove_unfinished(root: Path) -> None:
    """Remove what a killed run left of the shows that it was encoding. The data set must be held (`hold`)."""
    for scratch in storage_file(root, "").parent.glob(f"{_SCRATCH}*"):
        shutil.rmtree(scratch, ignore_errors=True)


def _audio_cell(file: Path, name: str) -> "StructArray":
    """Rename a file, because its name is stored too, and return its audio cell."""
    return audio_cells([file.rename(file.with_name(name))])[0]


def _read_speech(show: Show, heard: Path) -> NDArray[np.float32]:
    """Read the speech of the person on stage from the encoded audio, float32 at 16 kHz, concatenated."""
    pieces: list[NDArray[np.float32]] = []
    left = _MAX_SPEECH_SAMPLES
    with soundfile.SoundFile(heard) as file:
        position = 0
        for event in show.timeline:
            if not isinstance(event, ComedianEvent) or event.event_type != "speech" or left <= 0:
                continue
            start = max(position, seconds_to_samples(event.start, HEARD_HZ))
            end = min(seconds_to_samples(event.end, HEARD_HZ), file.frames, start + left)
            if start < end:
                file.seek(start)
                pieces.append(file.read(end - start, dtype="float32"))
                position, left = end, left - (end - start)
    return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)


def _write_enhanced(audio: Path, target: Path, enhancer: Enhancer, reading: Reading) -> Path:
    """Write the enhanced audio at the enhancer's rate to a WAV file."""
    with BlockReader(audio, reading=reading) as reader:
        resampler = StreamResampler(reader.info.rate_hz, enhancer.rate_hz)

        def blocks() -> Iterator[NDArray[np.float32]]:
            for block in reader:
                yield resampler.push(block)
            yield resampler.flush()

        with writing(target), soundfile.SoundFile(target, "w", enhancer.rate_hz, 1, "FLOAT") as file:
            for block in enhanced_stream(blocks(), enhancer):
                file.write(block)
    return target
