"""The schema of `report.json`."""

from typing import Any

from pydantic import BaseModel, ConfigDict

__all__ = [
    "Alignment",
    "Audio",
    "Augmented",
    "Bleeding",
    "Chunks",
    "Coverage",
    "Leak",
    "Placement",
    "Report",
    "Sessions",
    "Talk",
]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Sessions(_Part):
    """Sessions by how they ended, and the hours of those kept."""

    kept: int
    dropped: int
    failed: int
    tracks: int
    hours: float


class Alignment(_Part):
    """How the words were timed that a corpus gives no times for. Only the builder sees the models, so it alone counts this.

    utterances: that were given to the model.   aligned: those that passed the gate.   fallbacks: the others, whose words were
    shared out by letters, by the reason: not_found, too_long, too_short, order, empty_words, long_word, too_fast, not_in_speech.
    """

    method: str
    utterances: int
    aligned: int
    fallbacks: dict[str, int]


class Placement(_Part):
    """Where tokens stand against where their words begin, corrected for the lead. Seconds; `late` and `early` are absolute."""

    tokens: int
    mean_error_s: float
    p95_error_s: float
    max_late_s: float
    max_early_s: float
    share_exact: float
    tokens_first_chunk: int
    units_flagged_lag: int


class Leak(_Part):
    """What a token could have known too early.

    structural_s: how far back audio after a chunk reached into the features at or before it, in the rows that were tried; None
    until somebody tries: `sca verify` does, the builder does not.
    placement_tokens: tokens without lag that stand after their word's onset was heard (lead 1 and more).
    lagged: tokens that do because they lag, and the seconds of it.
    """

    structural_s: float | None
    placement_tokens: int
    lagged_tokens: int
    lagged_s: float


class Coverage(_Part):
    """Speech of the target speaker that is in the rows. `dropped` counts what `on_lag = drop-unit` took out, nothing else."""

    words: int
    words_in_rows: int
    share: float
    tokens_dropped: int
    tokens_dropped_on_request: int
    units_dropped_on_request: int


class Talk(_Part):
    """What the conversations are like, counted over the segments of all rows (one that a window cuts counts in both).

    overlap_share: of the speech, during which the listener speaks too.   …_a_minute: by one speaker, per minute of a row.
    floor_offset_s: turns and interruptions by the time from the end of what the other last began, in bins of 0.1 s named after
    their lower edge; -5.0 and 5.0 also hold what lies further out. Negative: it began in his speech.
    """

    overlap_share: float
    turns_a_minute: float
    backchannels_a_minute: float
    interruptions_a_minute: float
    floor_offset_s: dict[str, int]


class Chunks(_Part):
    """Chunks of all rows, by how many text tokens they hold."""

    chunks: int
    silent_share: float
    text_tokens: int
    used: dict[str, int]
    encoder_tokens_per_chunk: int
    extended: int


class Bleeding(_Part):
    """How much of one speaker is heard in another's track, as it was recorded.

    tried_s: in which one speaks and the other does not, for all ordered pairs.   bleed_s: of it, in which he is heard there.
    gated_s: of all tracks, that were silenced because they held nothing else.
    """

    tried_s: float
    bleed_s: float
    share: float
    tracks: int
    gated_s: float


class Augmented(_Part):
    """Sessions that are others retimed, and the turn changes in them that were made anew, by kind."""

    sessions: int
    edits: dict[str, int]


class Audio(_Part):
    """What was seen in the recordings."""

    tracks_padded: int
    padded_s: float
    tracks_mixed_down: int
    tracks_clipped: int
    clipped_samples: int
    tracks_silent: int
    non_finite_samples: int
    missing_embeddings: int


class Report(_Part):
    """`report.json`. The digests cover every value of every row, in order.   controls: control tokens in the rows, by name."""

    sca_version: str
    made_with: dict[str, Any]
    sessions: Sessions
    rows: int
    splits: dict[str, int]
    segments: dict[str, int]
    controls: dict[str, int]
    align_source: dict[str, int]
    alignment: Alignment
    placement: Placement
    leak: Leak
    coverage: Coverage
    talk: Talk
    chunks: Chunks
    audio: Audio
    bleed: Bleeding
    augmented: Augmented
    row_flags: dict[str, int]
    skipped: int
    notices: int
    storage_digest: str
    rows_digest: str
