"""Counters of verified rows and recordings, summed over rows, sides and sessions.

`sca build-duplex` counts while it writes and keeps the counters of each session; `sca verify` counts while it reads.
The report is derived from the counters alone, so that both arrive at the same report.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TypedDict

__all__ = ["AlignmentCounters", "CountersDocument", "ProofCounters"]


@dataclass(slots=True)
class AlignmentCounters:
    """Results of word alignment. Only the builder runs the models, so only the builder counts them.

    Attributes:
        utterances: Utterances given to the model.
        aligned: Utterances with accepted word times.
        fallbacks: The other utterances, by the reason why their words were interpolated instead.
    """

    utterances: int = 0
    aligned: int = 0
    fallbacks: Counter[str] = field(default_factory=Counter)

    def add(self, other: "AlignmentCounters") -> None:
        """Add the counts of `other`."""
        self.utterances += other.utterances
        self.aligned += other.aligned
        self.fallbacks.update(other.fallbacks)


class CountersDocument(TypedDict):
    """Counters as JSON: named counts, and pairs for the two that have numbers as keys."""

    counts: dict[str, int]
    errors: list[tuple[int, int]]
    used: list[tuple[int, int]]


@dataclass(slots=True)
class ProofCounters:
    """Counts of recordings, rows, segments, words and tokens.

    Attributes:
        padded_samples: Samples at 16 kHz added to tracks that are shorter than their session.
        bleed_tried_samples: Samples examined for cross-talk.
        bleed_samples: Samples with cross-talk.
        gated_samples: Samples that were silenced.
        rates: Recordings by sample rate in Hz; retimed copies are not counted.
        edits: Retimed turn changes by kind.
        unlabelled: Samples of speech without words by the reason why the words are not known.
        unlabelled_samples: Samples of speech without words.
        unlabelled_chunks: Chunks of rows that are not labels because of it.
        input_ids: Tokens of any kind.
        text_tokens: Text tokens.
        controls: Control tokens by name.
        row_flags: Rows by flag.
        units_decoded: Segments with tokens that were decoded to text.
        units_flagged_lag: Segments that lag more than allowed and were kept.
        segments_by_kind: Segments by turn label.
        floor_offsets: Segments that take the floor, by floor-transfer offset in tenths of a second.
        words_by_source: Words by the origin of their times.
        tokens_first_chunk: Tokens that belong before the first chunk of their row.
        tokens_leaked: Tokens placed after the onset of their word is audible, without lag.
        tokens_lagged_past_onset: Tokens placed after it because they lag.
        samples_lagged_past_onset: By how many samples, summed over those tokens.
        rows_left_out: Rows left out because they are on the list of rows to drop, with `words_left_out`.
        units_dropped: Segments left out on request, with `tokens_dropped_on_request` and `words_dropped_on_request`.
        errors: Text tokens by placement error: their chunk minus the chunk they should be in.
        used: Chunks by the number of text tokens in them.
    """

    tracks: int = 0
    tracks_without_embedding: int = 0
    tracks_with_bleed: int = 0
    tracks_padded: int = 0
    tracks_clipped: int = 0
    tracks_silent: int = 0
    tracks_mixed_down: int = 0
    padded_samples: int = 0
    clipped_samples: int = 0
    non_finite_samples: int = 0
    bleed_tried_samples: int = 0
    bleed_samples: int = 0
    gated_samples: int = 0
    rates: Counter[str] = field(default_factory=Counter)
    edits: Counter[str] = field(default_factory=Counter)
    tags: Counter[str] = field(default_factory=Counter)
    unlabelled: Counter[str] = field(default_factory=Counter)
    unlabelled_samples: int = 0
    alignment: AlignmentCounters = field(default_factory=AlignmentCounters)

    rows: int = 0
    chunks: int = 0
    extended_chunks: int = 0
    unlabelled_chunks: int = 0
    input_ids: int = 0
    text_tokens: int = 0
    controls: Counter[str] = field(default_factory=Counter)
    row_flags: Counter[str] = field(default_factory=Counter)

    segments: int = 0
    spoken_samples: int = 0
    overlapped_samples: int = 0
    units_decoded: int = 0
    units_flagged_lag: int = 0
    segments_by_kind: Counter[str] = field(default_factory=Counter)
    floor_offsets: Counter[int] = field(default_factory=Counter)

    words: int = 0
    word_samples: int = 0
    words_by_source: Counter[str] = field(default_factory=Counter)

    tokens_first_chunk: int = 0
    tokens_leaked: int = 0
    tokens_lagged_past_onset: int = 0
    samples_lagged_past_onset: int = 0

    rows_left_out: int = 0
    words_left_out: int = 0

    units_dropped: int = 0
    tokens_dropped_on_request: int = 0
    words_dropped_on_request: int = 0

    errors: Counter[int] = field(default_factory=Counter)
    used: Counter[int] = field(default_factory=Counter)

    def add(self, other: "ProofCounters") -> None:
        """Add the counts of `other`."""
        for name in _SCALARS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in (*_PREFIXES, "floor_offsets", "errors", "used"):
            getattr(self, name).update(getattr(other, name))
        self.alignment.add(other.alignment)

    def to_json(self) -> CountersDocument:
        """Convert to JSON-ready values."""
        written = {name for group, names in _GROUPS.items() if getattr(self, group) for name in names}
        counts = {name: value for name in _SCALARS if (value := getattr(self, name)) or name in written}
        for name, prefix in _PREFIXES.items():
            counts |= {f"{prefix}{key}": value for key, value in getattr(self, name).items()}
        counts |= {f"{_FLOOR_OFFSET}{tenths}": value for tenths, value in self.floor_offsets.items()}
        if self.alignment.utterances:
            counts[_UTTERANCES] = self.alignment.utterances
        if self.alignment.aligned:
            counts[_ALIGNED] = self.alignment.aligned
        counts |= {f"{_FALLBACK}{reason}": value for reason, value in self.alignment.fallbacks.items()}
        return CountersDocument(
            counts=dict(sorted(counts.items())), errors=sorted(self.errors.items()), used=sorted(self.used.items())
        )

    @classmethod
    def from_json(cls, document: CountersDocument) -> "ProofCounters":
        """Convert back from `to_json`.

        Raises:
            KeyError, TypeError, ValueError: The document is not one that `to_json` wrote.
        """
        counters = cls()
        for name, value in document["counts"].items():
            counters._set(name, value)
        counters.errors.update({int(key): value for key, value in document["errors"]})
        counters.used.update({int(key): value for key, value in document["used"]})
        return counters

    def _set(self, name: str, value: int) -> None:
        if name in _SCALARS:
            setattr(self, name, value)
        elif name == _UTTERANCES:
            self.alignment.utterances = value
        elif name == _ALIGNED:
            self.alignment.aligned = value
        elif name.startswith(_FALLBACK):
            self.alignment.fallbacks[name.removeprefix(_FALLBACK)] = value
        elif name.startswith(_FLOOR_OFFSET):
            self.floor_offsets[int(name.removeprefix(_FLOOR_OFFSET))] = value
        else:
            for counter, prefix in _PREFIXES.items():
                if name.startswith(prefix):
                    getattr(self, counter)[name.removeprefix(prefix)] = value
                    return
            raise ValueError(f"unknown count {name}")


# The JSON document has one flat mapping: counters by name get a prefix. Files of earlier builds have these names.
_PREFIXES: Mapping[str, str] = {
    "rates": "rate_",
    "edits": "edit_",
    "tags": "tag_",
    "unlabelled": "unlabelled_",
    "controls": "control_",
    "row_flags": "rows_",
    "segments_by_kind": "segments_",
    "words_by_source": "words_",
}
_FLOOR_OFFSET = "floor_offset_"
_UTTERANCES, _ALIGNED, _FALLBACK = "align_units", "align_aligned", "align_fell_"
_SCALARS = tuple(one.name for one in fields(ProofCounters) if one.type is int)
# Zeros are written only beside a count that is not zero: those of tracks if there are tracks, and so on.
_GROUPS: Mapping[str, tuple[str, ...]] = {
    "tracks": (
        *("tracks_without_embedding", "tracks_with_bleed", "tracks_padded", "tracks_clipped", "tracks_silent"),
        *("tracks_mixed_down", "padded_samples", "clipped_samples", "non_finite_samples", "gated_samples"),
        *("bleed_tried_samples", "bleed_samples"),
    ),
    "rows": ("chunks", "extended_chunks", "input_ids", "text_tokens"),
    "segments": ("spoken_samples", "overlapped_samples", "units_decoded", "words", "word_samples"),
}
