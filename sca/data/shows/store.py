"""The columns of a show data set, and one show's file of audio.

`storage` has a row a show: its sound at 16 kHz, at 24 kHz for the talker (enhanced if that was asked for), and whose voice it
is. `train` has a row a target. Audio is FLAC bytes with decode=False, so that no decoder has to be installed to open it.
"""

import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from sca.audio.decode import BlockReader
from sca.audio.resample import StreamResampler
from sca.data.datasets.arrow import audio_array, write_table
from sca.data.duplex.audio.encode_tracks import encode_tracks
from sca.data.media.enhance import Enhancer, enhanced_stream
from sca.data.speakers.base import EMBEDDING_SIZE
from sca.data.speakers.embedder import SpeakerEmbedder
from sca.errors import writing
from sca.timeline import ComedianEvent, Show
from sca.units import HEARD_HZ, SPOKEN_HZ, seconds_to_samples

__all__ = ["MADE_BY", "SCHEMA_VERSION", "SHOWS", "features", "write_storage"]

SCHEMA_VERSION = 1
SHOWS = "show"
MADE_BY = "sca convert"
_MOST_VOICE_S = 900  # of a show's speech; the embedder takes five minutes of it, spread evenly


@cache
def features(split: str) -> Any:
    """The `datasets.Features` of "storage" or "train"."""
    from datasets import Audio, Features, List, Value

    if split == "storage":
        return Features(
            {
                "session_id": Value("string"),
                "audio": Audio(sampling_rate=HEARD_HZ, decode=False),
                "clean_audio": Audio(sampling_rate=SPOKEN_HZ, decode=False),
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
    path: Path, show: Show, audio: Path, embedder: SpeakerEmbedder, enhancer: Enhancer | None
) -> tuple[int, bool]:
    """Write one show's file; returns its length in samples at 16 kHz and whether it has an embedding.

    Raises `InputError` for audio that cannot be decoded, `OutputError` when nothing can be written.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(prefix=".scratch-", dir=path.parent)
    with scratch as name:
        folder = Path(name)
        sources = [audio]
        if enhancer is not None:
            sources.append(_enhanced_file(audio, folder / "enhanced.wav", enhancer))
        tracks = encode_tracks(sources, folder, "flac")
        plain, clean = tracks[0], tracks[-1]
        voice = embedder.embed(_voice(show, plain.heard))
        row = {
            "session_id": [show.video_id],
            "audio": _named(plain.heard, f"{path.stem}_16k.flac"),
            "clean_audio": _named(clean.spoken, f"{path.stem}_24k.flac"),
            "speaker_embedding": [None if voice is None else voice.tolist()],
        }
        write_table(path, features("storage"), [row])
    return plain.samples, voice is not None


def _named(file: Path, name: str) -> Any:
    """The audio cell of a file, under the name it is to be known by."""
    return audio_array([file.rename(file.with_name(name))])[0]


def _voice(show: Show, heard: Path) -> NDArray[np.float32]:
    """What the comedian says, one stretch after the other, float32 at 16 kHz."""
    pieces: list[NDArray[np.float32]] = []
    left = _MOST_VOICE_S * HEARD_HZ
    with soundfile.SoundFile(heard) as file:
        done = 0
        for event in show.timeline:
            if not isinstance(event, ComedianEvent) or event.event_type != "speech" or left <= 0:
                continue
            start = max(done, seconds_to_samples(event.start, HEARD_HZ))
            end = min(seconds_to_samples(event.end, HEARD_HZ), file.frames, start + left)
            if start < end:
                file.seek(start)
                pieces.append(file.read(end - start, dtype="float32"))
                done, left = end, left - (end - start)
    return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)


def _enhanced_file(audio: Path, target: Path, enhancer: Enhancer) -> Path:
    """The enhanced sound at the enhancer's rate, as a file for the next step to read."""
    with BlockReader(audio) as reader:
        resampler = StreamResampler(reader.info.rate_hz, enhancer.rate_hz)

        def blocks() -> Iterator[NDArray[np.float32]]:
            for block in reader:
                yield resampler.push(block)
            yield resampler.flush()

        with writing(target), soundfile.SoundFile(target, "w", enhancer.rate_hz, 1, "FLOAT") as file:
            for block in enhanced_stream(blocks(), enhancer):
                file.write(block)
    return target
