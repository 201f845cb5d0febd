"""Data types shared by the modules of this package."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from sca.data.transcription.coverage import NOTHING, Coverage

__all__ = ["ConvertDetails", "ShowRecord", "TrainColumns"]


class TrainColumns(TypedDict):
    """The columns of `train`. Times are seconds from the start of the show's audio.

    Attributes:
        session_id: The id of the show.
        start_sec: Start of the row: of the context before the target.
        end_sec: End of the row.
        target_start_sec: Start of the target speech; the context ends here.
        target_end_sec: End of the target speech.
        target_text: The text of the target speech.
        event_index: The index of the target in the show.
    """

    session_id: str
    start_sec: float
    end_sec: float
    target_start_sec: float
    target_end_sec: float
    target_text: str
    event_index: int


@dataclass(frozen=True, slots=True)
class ShowRecord:
    """A show with encoded audio. It is written after the audio file, so it marks the file as complete.

    Attributes:
        key: Hash of everything that determines the content of the audio file.
        sha256: Hash of the recording.
        stat: Size in bytes and modification time in nanoseconds of the recording; if they are unchanged, the recording
            is not hashed again.
        samples: Length at 16 kHz.
        embedding: Whether the show has a speaker embedding.
        notes: Remarks about the recording.
    """

    key: str
    sha256: str
    stat: tuple[int, int]
    samples: int
    embedding: bool
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class ConvertDetails:
    """The content of a converted data set.

    Attributes:
        root: Its folder.
        shows: Shows with at least one row.
        encoded: Shows that this run encoded.
        rows: Rows of `train`.
        audio_s: Seconds of audio.
        target_s: Seconds of target speech.
        without_embedding: Shows without a speaker embedding.
        counts: Events that were merged, changed or left out, by reason.
        speech: Seconds of speech that the VAD found in the shows, and what the timelines have for it.
        without_speech_spans: Shows with lines of older versions, which lack the speech spans.
    """

    root: Path
    shows: int = 0
    encoded: int = 0
    rows: int = 0
    audio_s: float = 0.0
    target_s: float = 0.0
    without_embedding: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    speech: Coverage = NOTHING
    without_speech_spans: int = 0
