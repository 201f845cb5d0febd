"""The schema of `report.json`, the report that belongs to a data set.

`sca build-duplex` writes it, `sca verify` recomputes it from the files. Fractions are of 1; durations are seconds.
"""

from pydantic import BaseModel, ConfigDict
from typing_extensions import override

from sca.data.duplex.model.evidence import EvidenceReport
from sca.data.duplex.model.left_out import LeftOutRow
from sca.display.blocks import block, summary_line
from sca.textutil import counted

__all__ = [
    "AlignmentReport",
    "AudioReport",
    "AugmentationReport",
    "ChunkReport",
    "CoverageReport",
    "CrosstalkReport",
    "LeakReport",
    "PlacementReport",
    "RepairedTrack",
    "Report",
    "SessionBleed",
    "SessionReport",
    "SourceReport",
    "SplitReport",
    "TalkReport",
    "TextRateReport",
    "UnlabelledReport",
]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SessionReport(_Section):
    """Sessions by result; `tracks` and `hours` are of those that were kept."""

    kept: int
    dropped: int
    failed: int
    tracks: int
    hours: float


class AlignmentReport(_Section):
    """How words were timed for which the corpus has no times. Counted by the builder only, because only it runs the models.

    Attributes:
        method: Alignment method of the settings.
        utterances: Utterances given to the model.
        aligned: Utterances with accepted word times.
        fallbacks: The other utterances by reason: not_found, too_long, too_short, order, empty_words, long_word,
            too_fast, not_in_speech. Their words were interpolated.
        word_times: How the times of the model were corrected; None for not at all.
    """

    method: str
    utterances: int
    aligned: int
    fallbacks: dict[str, int]
    word_times: str | None = None


class PlacementReport(_Section):
    """Placement error of text tokens: the distance from the chunk of the word's onset, corrected for the lead.

    Attributes:
        tokens: Text tokens in the rows.
        mean_error_s: Mean absolute error.
        p95_error_s: 95th percentile of the absolute error.
        max_late_s: Largest delay.
        max_early_s: Largest advance.
        share_exact: Share of tokens without error.
        tokens_first_chunk: Tokens that belong before the first chunk of their row.
        units_flagged_lag: Segments that lag more than allowed.
    """

    tokens: int
    mean_error_s: float
    p95_error_s: float
    max_late_s: float
    max_early_s: float
    share_exact: float
    tokens_first_chunk: int
    units_flagged_lag: int


class LeakReport(_Section):
    """Information that reaches a token too early.

    Attributes:
        structural_s: How far back audio after a chunk changed the features at or before it, in the rows that were
            tested. None in the builder's report: only `sca verify` measures it.
        placement_tokens: Tokens without lag that are placed after the onset of their word is audible (lead of 1 or
            more).
        lagged_tokens: Tokens placed after it because they lag.
        lagged_s: By how much, summed over those tokens.
    """

    structural_s: float | None
    placement_tokens: int
    lagged_tokens: int
    lagged_s: float


class CoverageReport(_Section):
    """How much of the speakers' words the rows contain.

    Attributes:
        words: Words of the speakers.
        words_in_rows: Words in the rows.
        share: Share of words that are in the rows.
        tokens_dropped: Tokens lost by placement. Always 0 in a valid data set.
        tokens_dropped_on_request: Tokens left out by `on_lag = drop-unit`.
        units_dropped_on_request: Segments left out by it.
        rows_left_out: Rows left out by `drops`.
    """

    words: int
    words_in_rows: int
    share: float
    tokens_dropped: int
    tokens_dropped_on_request: int
    units_dropped_on_request: int
    rows_left_out: int = 0


class TextRateReport(_Section):
    """Text tokens per second against the room for them, whatever the windows of the rows are.

    Attributes:
        tokens_a_second: Text tokens per second of speech.
        room_a_second: Text tokens per second that the rows have room for.
        late_share: Share of tokens that are late with the room of the settings.
        sufficient: Whether at most 5 % are late, and at most 1 % by more than a chunk.
        advised_tokens_per_chunk: Smallest `duplex.text_tokens_per_chunk` that is sufficient, with a mean error of at
            most 0.06 s. None if none up to 16 is.
    """

    tokens_a_second: float
    room_a_second: float
    late_share: float
    sufficient: bool
    advised_tokens_per_chunk: int | None


class TalkReport(_Section):
    """Turn-taking over the segments of all rows. A segment that a window cuts counts in both rows.

    Attributes:
        overlap_share: Share of the speech during which the listener speaks too.
        turns_a_minute: Turns of one speaker per minute of a row.
        backchannels_a_minute: Backchannels of one speaker per minute of a row.
        interruptions_a_minute: Interruptions by one speaker per minute of a row.
        floor_offset_s: Turns and interruptions by floor-transfer offset, in bins of 0.1 s named after their lower edge.
            The outermost bins, -5.0 and 5.0, also contain everything beyond. Negative: the segment begins during the
            other's speech.
    """

    overlap_share: float
    turns_a_minute: float
    backchannels_a_minute: float
    interruptions_a_minute: float
    floor_offset_s: dict[str, int]


class ChunkReport(_Section):
    """Chunks of all rows; `used` counts them by the number of text tokens in them."""

    chunks: int
    silent_share: float
    text_tokens: int
    used: dict[str, int]
    encoder_tokens_per_chunk: int
    extended: int


class SessionBleed(_Section):
    """Cross-talk between the tracks of one session, with the fields of `CrosstalkReport`."""

    session: str
    tried_s: float
    bleed_s: float
    share: float
    gated_s: float


class CrosstalkReport(_Section):
    """Cross-talk between tracks, as recorded.

    Attributes:
        tried_s: Time examined: where one speaker speaks and the other does not, over all ordered pairs.
        bleed_s: Time of it with cross-talk.
        share: Share of it with cross-talk.
        tracks: Tracks with cross-talk.
        gated_s: Time that was silenced because a track contained nothing but cross-talk.
        sessions: Sessions with cross-talk, the largest share first; None in reports of earlier versions.
    """

    tried_s: float
    bleed_s: float
    share: float
    tracks: int
    gated_s: float
    sessions: list[SessionBleed] | None = None


class SourceReport(_Section):
    """Sample rates of the recordings, without retimed copies.

    Attributes:
        rates: Recordings by sample rate in Hz.
        upsampled_heard: Recordings below 16 kHz, whose heard audio has less bandwidth than its rate.
        upsampled_spoken: Recordings below 24 kHz, whose spoken audio has less bandwidth than its rate.
    """

    rates: dict[str, int]
    upsampled_heard: int
    upsampled_spoken: int


class SplitReport(_Section):
    """Numbers of one split; the fields are those of the whole data set.

    Attributes:
        rows: Rows.
        sessions: Sessions, also retimed ones.
        speakers: Different speakers.
        hours: Length of the sessions.
        tokens: Text tokens in the rows.
        mean_error_s: Mean absolute placement error.
        max_late_s: Largest delay.
        silent_share: Share of chunks without text.
        align_source: Words by the origin of their times.
    """

    rows: int
    sessions: int
    speakers: int
    hours: float
    tokens: int
    mean_error_s: float
    max_late_s: float
    silent_share: float
    align_source: dict[str, int]


class AugmentationReport(_Section):
    """Sessions that are retimed copies, and their retimed turn changes by kind."""

    sessions: int
    edits: dict[str, int]


class UnlabelledReport(_Section):
    """Speech without words, which the rows do not teach as silence.

    Attributes:
        speech_s: Its length in the tracks.
        by_reason: The same by the reason why the words are not known; see `sca.data.duplex.model.unlabelled`.
        chunks: Chunks of the rows whose tokens are not labels because of it, or because of a segment left out.
        chunks_s: Their length.
    """

    speech_s: float = 0.0
    by_reason: dict[str, float] = {}
    chunks: int = 0
    chunks_s: float = 0.0


class AudioReport(_Section):
    """Properties of the recordings."""

    tracks_padded: int
    padded_s: float
    tracks_mixed_down: int
    tracks_clipped: int
    clipped_samples: int
    tracks_silent: int
    non_finite_samples: int
    missing_embeddings: int


class RepairedTrack(_Section):
    """A track that was repaired. A time t of its transcript became `t * (1 + drift) + offset_s`.

    Attributes:
        session: Id of the session.
        speaker: Id of the speaker.
        audio_of: The speaker whose recording it had, if the recordings were exchanged.
        offset_s: Seconds that the words were moved.
        drift: Share by which their times were stretched.
    """

    session: str
    speaker: str
    audio_of: str | None
    offset_s: float
    drift: float


class Report(_Section):
    """`report.json`.

    Attributes:
        sca_version: Version of sca that built the data set.
        made_with: The content of `settings.json`.
        sessions: Sessions by result.
        rows: Rows of all splits.
        splits: Rows by split.
        segments: Segments by kind.
        controls: Control tokens by name.
        align_source: Words by the origin of their times.
        alignment: Word alignment.
        placement: Placement error of tokens.
        leak: Information that reaches a token too early.
        coverage: Words in the rows.
        talk: Turn-taking.
        text_rate: Text tokens against the room for them; None in reports of earlier versions, and without text tokens.
        chunks: Chunks of the rows.
        sources: Sample rates of the recordings; None in reports of earlier versions, like `by_split`.
        by_split: Numbers of each split.
        unlabelled: Speech without words. Zero in reports of earlier versions, which had no such labels.
        audio: Properties of the recordings.
        bleed: Cross-talk between tracks.
        augmented: Retimed sessions.
        evidence: Words against sound; None if it was not measured.
        repaired: Tracks that were repaired, without retimed copies of them.
        left_out_rows: Rows that are not stored because they are on the list of the setting `drops`.
        row_flags: Rows by flag.
        tags: Tags in the transcripts, removed or kept by the setting `tags`. Counted by the builder only.
        skipped: Number of skipped files and lines.
        skipped_first: The first of them, with file, line and reason. The ledger has all.
        notices: Number of notices.
        storage_digest: Digest of every value of every track, in order.
        rows_digest: Digest of every value of every row, in order.
    """

    sca_version: str
    made_with: dict[str, object]
    sessions: SessionReport
    rows: int
    splits: dict[str, int]
    segments: dict[str, int]
    controls: dict[str, int]
    align_source: dict[str, int]
    alignment: AlignmentReport
    placement: PlacementReport
    leak: LeakReport
    coverage: CoverageReport
    talk: TalkReport
    text_rate: TextRateReport | None = None
    chunks: ChunkReport
    sources: SourceReport | None = None
    by_split: dict[str, SplitReport] | None = None
    unlabelled: UnlabelledReport = UnlabelledReport()
    audio: AudioReport
    bleed: CrosstalkReport
    augmented: AugmentationReport
    evidence: EvidenceReport | None = None
    repaired: list[RepairedTrack] = []
    left_out_rows: list[LeftOutRow] = []
    row_flags: dict[str, int]
    tags: dict[str, int] = {}
    skipped: int
    skipped_first: list[str] = []
    notices: int
    storage_digest: str
    rows_digest: str

    @override
    def __repr__(self) -> str:
        sessions, rows = counted(self.sessions.kept, "session"), counted(self.rows, "row")
        covered = f"{self.coverage.share:.1%} of words in rows"
        return summary_line("Report", sessions, f"{self.sessions.hours:.3f} h", rows, covered, self.rows_digest[:12])

    def _repr_html_(self) -> str:
        """Return a block for notebooks: the numbers of each section."""
        fields = self.model_dump(mode="json", exclude={"made_with"})
        facts = {name: _numbers(value) for name, value in fields.items() if _numbers(value)}
        return block("Report", facts)


def _numbers(value: object) -> str:
    """Return the numbers and texts of a section of a report as one text."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {_numbers(one)}" for name, one in value.items() if isinstance(one, int | float | str))
    return f"{value:.6g}" if isinstance(value, float) else str(value) if isinstance(value, int | str) else ""
