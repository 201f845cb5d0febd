"""Records as stored: the columns of a data set as plain values.

A track is a record of `storage`, a row is a record of a split. Times in a track count from the start of the session,
times and chunks in a row from the start of the row; times are seconds. The Arrow types are in
`sca.data.duplex.storage.writer`.
"""

from typing import NotRequired, TypedDict

from sca.data.duplex.model.unlabelled import UnlabelledReason

__all__ = [
    "BleedRecord",
    "DroppedRecord",
    "EditRecord",
    "ProvenanceRecord",
    "RepairRecord",
    "RetimingRecord",
    "RowRecord",
    "RowWordRecord",
    "SegmentRecord",
    "SpanRecord",
    "TrackRecord",
    "UnlabelledRange",
    "UnlabelledRecord",
    "WordRecord",
]


class WordRecord(TypedDict):
    """A word of a track.

    Attributes:
        word: Its text.
        start: Start in seconds.
        end: End in seconds.
        source: Origin of the times: given, interpolated, whisper or ctc.
        unit: Number of its unit, from 0.
        space: Whether a space precedes it in its unit.
    """

    word: str
    start: float
    end: float
    source: str
    unit: int
    space: bool


class SpanRecord(TypedDict):
    """A stretch of time in seconds."""

    start: float
    end: float


class UnlabelledRecord(TypedDict):
    """Speech of a speaker without words, see `sca.data.duplex.model.unlabelled`."""

    start: float
    end: float
    reason: UnlabelledReason


class UnlabelledRange(TypedDict):
    """Chunks `[first, end)` of a row whose tokens are not labels, because the words of the speaker are unknown there."""

    first: int
    end: int


class BleedRecord(TypedDict):
    """Cross-talk of speaker `of` into a track, see `sca.data.duplex.model.crosstalk.Bleed`."""

    of: str
    tried_s: float
    bleed_s: float
    level_db: float | None
    delay_ms: float | None


class EditRecord(TypedDict):
    """A turn change that was retimed.

    Attributes:
        kind: Kind of the edit.
        unit: Number of the unit that was moved.
        was_s: Floor-transfer offset before the edit.
        offset_s: Floor-transfer offset after it.
    """

    kind: str
    unit: int
    was_s: float
    offset_s: float


# "from" is a keyword, so this type cannot be written as a class.
RetimingRecord = TypedDict("RetimingRecord", {"from": str, "copy": int, "edits": list[EditRecord]})
"""How a track was retimed: the session it is made from, the number of the copy, and the edits of this speaker."""


class RepairRecord(TypedDict):
    """How a track was repaired. A time t of the transcript became `t * (1 + drift) + offset_s`.

    Attributes:
        audio_of: The speaker whose recording the corpus gave this speaker's name, if the recordings were exchanged.
        offset_s: Seconds that the words were moved.
        drift: Share by which the times of the words were stretched.
    """

    audio_of: str | None
    offset_s: float
    drift: float


class ProvenanceRecord(TypedDict):
    """Origin of a track.

    Attributes:
        audio: File name of the recording.
        transcript: File name of the transcript; None if the words are unknown, and the track is then only listened to.
        sha256: SHA-256 of the recording's file.
        rate_hz: Sample rate of the recording.
        channels: Channels of the recording that were mixed into the track.
        padded_samples: Samples of silence at 16 kHz added at the end, so that all tracks have one length.
        peak: Largest absolute sample, 1.0 is full scale.
        clipped_samples: Samples at full scale.
        non_finite_samples: Samples that were NaN or infinite.
        repair: How the track was repaired; None for a track as given, absent in data sets of earlier versions.
    """

    audio: str
    transcript: str | None
    sha256: str
    rate_hz: int
    channels: int
    padded_samples: int
    peak: float
    clipped_samples: int
    non_finite_samples: int
    repair: NotRequired[RepairRecord | None]


class TrackRecord(TypedDict):
    """A track of `storage`, without its audio and codec codes.

    Attributes:
        session_id: Id of the session.
        speaker_id: Id of the speaker.
        duration_samples: Length in samples at 16 kHz.
        words: Words of the speaker in time order.
        speech: Speech found by the VAD; only of tracks without a transcript.
        bleed: Cross-talk of every other speaker into this track.
        gated: Silenced spans.
        augmented: How the track was retimed; None for a track as recorded.
        speaker_embedding: Speaker embedding of length 1; None without a model, or with too little speech.
        provenance: Origin of the track.
        unlabelled: Speech of the speaker without words. Empty in data sets of earlier versions.
    """

    session_id: str
    speaker_id: str
    duration_samples: int
    words: list[WordRecord]
    speech: list[SpanRecord]
    bleed: list[BleedRecord]
    gated: list[SpanRecord]
    augmented: RetimingRecord | None
    speaker_embedding: list[float] | None
    provenance: ProvenanceRecord
    unlabelled: list[UnlabelledRecord]


class RowWordRecord(TypedDict):
    """A word of a segment: its times, the place of its first token, and how many tokens it has."""

    word: str
    start_s: float
    end_s: float
    chunk: int
    k: int
    n_tokens: int


class SegmentRecord(TypedDict):
    """A segment of a row, see `sca.data.duplex.model.rows.Segment`.

    Attributes:
        text: Its text.
        leading_space: Whether its tokens begin with a space.
        start_s: Start of its first word.
        end_s: Latest end of its words.
        kind: `turn`, `backchannel` or `interruption`.
        overlap: Share of its unit during which a listener speaks too.
        floor_offset_s: Floor-transfer offset of its unit, None if no listener has spoken before.
        lag_chunks: Most chunks that a token is placed after the chunk it should be in.
        first_chunk: Chunk of its first token.
        first_k: Place of its first token in that chunk.
        last_chunk: Chunk of its last token.
        last_k: Place of its last token in that chunk.
        n_tokens: Number of text tokens.
        first_word: Index of its first word among all words of the speaker.
        n_words: Number of words.
        words: Its words.
    """

    text: str
    leading_space: bool
    start_s: float
    end_s: float
    kind: str
    overlap: float
    floor_offset_s: float | None
    lag_chunks: int
    first_chunk: int
    first_k: int
    last_chunk: int
    last_k: int
    n_tokens: int
    first_word: int
    n_words: int
    words: list[RowWordRecord]


class DroppedRecord(TypedDict):
    """A segment left out of its row because it lagged too far."""

    text: str
    start_s: float
    end_s: float
    n_tokens: int
    first_word: int
    n_words: int


class RowRecord(TypedDict):
    """A training row.

    Attributes:
        row_id: `SESSION:LISTENER>SPEAKER:START_CHUNK`, with the columns of these names.
        session_id: Id of the session.
        listener: Speaker that is heard in the row, or all other speakers of the session joined by `+`, if they are
            heard mixed; see `sca.data.duplex.model.heard`.
        speaker: Speaker that the row teaches to speak.
        start_chunk: First chunk, counted in the session.
        n_chunks: Chunks in the row.
        extended_chunks: How many of them lie past the end of the window.
        prompt_tokens: Tokens of the system prompt at the start of `input_ids`.
        input_ids: The tokens.
        segments: Segments in time order.
        dropped: Segments left out on request.
        flags: Exceptional cuts and placements.
        align_source: Origin of all word times, `mixed` for several origins, `none` for a row without words.
        unlabelled: Chunks that are not labels, in order. Empty in data sets of earlier versions.
    """

    row_id: str
    session_id: str
    listener: str
    speaker: str
    start_chunk: int
    n_chunks: int
    extended_chunks: int
    prompt_tokens: int
    input_ids: list[int]
    segments: list[SegmentRecord]
    dropped: list[DroppedRecord]
    flags: list[str]
    align_source: str
    unlabelled: list[UnlabelledRange]
