"""Derive the report of a data set from the counters of its sessions.

The report depends on nothing but counters, so that `sca verify` can recompute it from the files and compare.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import PurePath

from sca.config import Settings
from sca.data.duplex.evidence.judge import judge
from sca.data.duplex.model.counters import ProofCounters
from sca.data.duplex.model.evidence import EvidenceReport
from sca.data.duplex.model.report import (
    AlignmentReport,
    AudioReport,
    AugmentationReport,
    ChunkReport,
    CoverageReport,
    CrosstalkReport,
    LeakReport,
    PlacementReport,
    RepairedTrack,
    Report,
    SessionBleed,
    SessionReport,
    SourceReport,
    SplitReport,
    TalkReport,
    TextRateReport,
    UnlabelledReport,
)
from sca.data.duplex.model.session import SessionResult
from sca.data.duplex.model.text_rate import TextRateCounters
from sca.data.duplex.storage.digests import chain_digests
from sca.units import HEARD_HZ, SPOKEN_HZ

__all__ = ["PlacementErrors", "make_report", "placement_errors", "text_rate_report"]


_SKIPPED_SHOWN = 10


@dataclass(frozen=True, slots=True)
class PlacementErrors:
    """Statistics of placement errors. `mean`, `p95`, `late` and `early` are absolute errors in chunks.

    Attributes:
        mean: Mean error.
        p95: 95th percentile.
        late: Largest delay.
        early: Largest advance.
        exact: Share of tokens without error.
    """

    mean: float
    p95: int
    late: int
    early: int
    exact: float


def placement_errors(errors: Counter[int]) -> PlacementErrors:
    """Summarise placement errors.

    Args:
        errors: Tokens by error in chunks; positive errors are late.
    """
    total = sum(errors.values())
    if not total:
        return PlacementErrors(0.0, 0, 0, 0, 1.0)
    sizes: Counter[int] = Counter()
    for error, count in errors.items():
        sizes[abs(error)] += count
    seen, p95 = 0, 0
    for size in sorted(sizes):
        seen += sizes[size]
        p95 = size
        if seen >= 0.95 * total:
            break
    return PlacementErrors(
        mean=sum(size * count for size, count in sizes.items()) / total,
        p95=p95,
        late=max(0, *errors),
        early=max(0, -min(errors)),
        exact=errors[0] / total,
    )


def make_report(
    settings: Settings,
    build_settings: dict[str, object],
    version: str,
    results: Sequence[SessionResult],
    skipped: Sequence[str],
    structural_s: float | None = None,
) -> Report:
    """Sum the counters of the sessions into a report.

    Args:
        settings: Settings of the data set.
        build_settings: The content of `settings.json`.
        version: Version of sca that built the data set.
        results: Results of all sessions, in order.
        skipped: Parts of the corpus that were skipped before any session was built.
        structural_s: Measured structural leak; None if it was not measured.
    """
    kept = [result for result in results if result.status == "kept"]
    counters = ProofCounters()
    for result in kept:
        counters.add(result.counters)
    chunk_s = float(settings.grid.chunk_s)
    return Report(
        sca_version=version,
        made_with=build_settings,
        sessions=_sessions(results, kept),
        rows=counters.rows,
        splits=_rows_by_split(kept),
        segments=_by_name(counters.segments_by_kind),
        controls=_by_name(counters.controls),
        align_source=_by_name(counters.words_by_source),
        alignment=_alignment(counters, settings.duplex.align),
        placement=_placement(counters, chunk_s),
        leak=_leak(counters, structural_s),
        coverage=_coverage(counters),
        talk=_talk(counters, chunk_s),
        text_rate=_text_rate(kept, settings),
        chunks=_chunks(counters, settings.grid.frames_per_chunk),
        sources=_sources(counters),
        by_split={split: _split([r for r in kept if r.split == split], chunk_s) for split in _splits(kept)},
        unlabelled=_unlabelled(counters, chunk_s),
        audio=_audio(counters),
        bleed=_crosstalk(counters, kept),
        augmented=AugmentationReport(
            sessions=sum(result.augmented_from is not None for result in kept), edits=_by_name(counters.edits)
        ),
        evidence=_evidence(settings, kept),
        repaired=[
            RepairedTrack(session=result.session_id, speaker=speaker, **repair)
            for result in kept
            if result.augmented_from is None
            for speaker, repair in result.repairs.items()
        ],
        left_out_rows=[row for result in kept for row in result.left_out],
        row_flags=_by_name(counters.row_flags),
        tags=_by_name(counters.tags),
        skipped=len(skipped) + sum(len(result.skipped) for result in results),
        skipped_first=_first_skipped(results, skipped),
        notices=sum(len(result.notices) for result in results),
        storage_digest=chain_digests(digest for result in kept for digest in result.storage_digests),
        rows_digest=chain_digests(digest for result in kept for digest in result.row_digests),
    )


def _evidence(settings: Settings, kept: Sequence[SessionResult]) -> EvidenceReport | None:
    """Judge the sessions as recorded. A retimed copy has the recordings and words of its source."""
    recorded = [result for result in kept if result.augmented_from is None]
    if any(result.evidence is None for result in recorded):
        return None
    return judge([track for result in recorded for track in result.evidence or ()], settings.duplex)


def _sessions(results: Sequence[SessionResult], kept: Sequence[SessionResult]) -> SessionReport:
    return SessionReport(
        kept=len(kept),
        dropped=sum(result.status == "dropped" for result in results),
        failed=sum(result.status == "failed" for result in results),
        tracks=sum(result.tracks for result in kept),
        hours=_hours(kept),
    )


def _rows_by_split(kept: Sequence[SessionResult]) -> dict[str, int]:
    return {split: sum(result.rows for result in kept if result.split == split) for split in _splits(kept)}


def _splits(kept: Sequence[SessionResult]) -> list[str]:
    return sorted({result.split for result in kept} | {"train"})


def _split(kept: Sequence[SessionResult], chunk_s: float) -> SplitReport:
    """Return the numbers of the sessions of a split."""
    counters = ProofCounters()
    for result in kept:
        counters.add(result.counters)
    placement, chunks = _placement(counters, chunk_s), _chunks(counters, 0)
    return SplitReport(
        rows=counters.rows,
        sessions=len(kept),
        speakers=len({speaker for result in kept for speaker in result.speakers}),
        hours=_hours(kept),
        tokens=placement.tokens,
        mean_error_s=placement.mean_error_s,
        max_late_s=placement.max_late_s,
        silent_share=chunks.silent_share,
        align_source=_by_name(counters.words_by_source),
    )


def _hours(kept: Sequence[SessionResult]) -> float:
    return round(sum(result.samples for result in kept) / HEARD_HZ / 3600, 6)


def _first_skipped(results: Sequence[SessionResult], skipped: Sequence[str]) -> list[str]:
    """Return the first lines and files that were skipped, by the names of their files without folders."""
    lines = chain(skipped, (line for result in results for line in result.skipped))
    return [_without_folder(line) for line in islice(lines, _SKIPPED_SHOWN)]


def _without_folder(line: str) -> str:
    path, colon, reason = line.partition(": ")
    return f"{PurePath(path).name}{colon}{reason}"


def _alignment(counters: ProofCounters, method: str) -> AlignmentReport:
    alignment = counters.alignment
    return AlignmentReport(
        method=method,
        utterances=alignment.utterances,
        aligned=alignment.aligned,
        fallbacks=_by_name(alignment.fallbacks),
    )


def _placement(counters: ProofCounters, chunk_s: float) -> PlacementReport:
    errors = placement_errors(counters.errors)
    return PlacementReport(
        tokens=sum(counters.errors.values()),
        mean_error_s=round(errors.mean * chunk_s, 6),
        p95_error_s=round(errors.p95 * chunk_s, 6),
        max_late_s=round(errors.late * chunk_s, 6),
        max_early_s=round(errors.early * chunk_s, 6),
        share_exact=round(errors.exact, 6),
        tokens_first_chunk=counters.tokens_first_chunk,
        units_flagged_lag=counters.units_flagged_lag + counters.units_dropped,
    )


def _leak(counters: ProofCounters, structural_s: float | None) -> LeakReport:
    return LeakReport(
        structural_s=structural_s,
        placement_tokens=counters.tokens_leaked,
        lagged_tokens=counters.tokens_lagged_past_onset,
        lagged_s=_seconds(counters.samples_lagged_past_onset),
    )


def _coverage(counters: ProofCounters) -> CoverageReport:
    words = counters.words + counters.words_dropped_on_request + counters.words_left_out
    return CoverageReport(
        words=words,
        words_in_rows=counters.words,
        share=round(counters.words / words, 6) if words else 1.0,
        tokens_dropped=counters.text_tokens - sum(counters.errors.values()),
        tokens_dropped_on_request=counters.tokens_dropped_on_request,
        units_dropped_on_request=counters.units_dropped,
        rows_left_out=counters.rows_left_out,
    )


def _talk(counters: ProofCounters, chunk_s: float) -> TalkReport:
    minutes = counters.chunks * chunk_s / 60

    def a_minute(kind: str) -> float:
        return round(counters.segments_by_kind[kind] / minutes, 6) if minutes else 0.0

    spoken = counters.spoken_samples
    return TalkReport(
        overlap_share=round(counters.overlapped_samples / spoken, 6) if spoken else 0.0,
        turns_a_minute=a_minute("turn"),
        backchannels_a_minute=a_minute("backchannel"),
        interruptions_a_minute=a_minute("interruption"),
        floor_offset_s={f"{tenths / 10:.1f}": count for tenths, count in sorted(counters.floor_offsets.items())},
    )


def _text_rate(kept: Sequence[SessionResult], settings: Settings) -> TextRateReport | None:
    counters = TextRateCounters()
    for result in kept:
        counters.add(result.text_rate)
    return text_rate_report(counters, settings)


def text_rate_report(counters: TextRateCounters, settings: Settings) -> TextRateReport | None:
    """Return the tokens per second of speech against the room for them; None without speech.

    Args:
        counters: Counts over the units of speakers.
        settings: The settings with the number of text tokens per chunk.
    """
    if not counters.tokens or not counters.spoken_samples:
        return None
    number, chunk_s = settings.duplex.tokens_per_chunk, float(settings.grid.chunk_s)
    return TextRateReport(
        tokens_a_second=round(counters.tokens * HEARD_HZ / counters.spoken_samples, 6),
        room_a_second=round(number / chunk_s, 6),
        late_share=round(counters.late_share(number), 6),
        sufficient=counters.in_time(number),
        advised_tokens_per_chunk=counters.advised(chunk_s),
    )


def _chunks(counters: ProofCounters, encoder_tokens: int) -> ChunkReport:
    return ChunkReport(
        chunks=counters.chunks,
        silent_share=round(counters.used[0] / counters.chunks, 6) if counters.chunks else 1.0,
        text_tokens=counters.text_tokens,
        used={str(tokens): chunks for tokens, chunks in sorted(counters.used.items())},
        encoder_tokens_per_chunk=encoder_tokens,
        extended=counters.extended_chunks,
    )


def _unlabelled(counters: ProofCounters, chunk_s: float) -> UnlabelledReport:
    return UnlabelledReport(
        speech_s=_seconds(counters.unlabelled_samples),
        by_reason={reason: _seconds(samples) for reason, samples in sorted(counters.unlabelled.items())},
        chunks=counters.unlabelled_chunks,
        chunks_s=round(counters.unlabelled_chunks * chunk_s, 6),
    )


def _audio(counters: ProofCounters) -> AudioReport:
    return AudioReport(
        tracks_padded=counters.tracks_padded,
        padded_s=_seconds(counters.padded_samples),
        tracks_mixed_down=counters.tracks_mixed_down,
        tracks_clipped=counters.tracks_clipped,
        clipped_samples=counters.clipped_samples,
        tracks_silent=counters.tracks_silent,
        non_finite_samples=counters.non_finite_samples,
        missing_embeddings=counters.tracks_without_embedding,
    )


def _sources(counters: ProofCounters) -> SourceReport:
    rates = sorted(counters.rates.items(), key=lambda item: int(item[0]))
    return SourceReport(
        rates=dict(rates),
        upsampled_heard=sum(count for rate, count in rates if int(rate) < HEARD_HZ),
        upsampled_spoken=sum(count for rate, count in rates if int(rate) < SPOKEN_HZ),
    )


def _crosstalk(counters: ProofCounters, kept: Sequence[SessionResult]) -> CrosstalkReport:
    sessions = [_session_bleed(result) for result in kept if result.counters.bleed_samples]
    return CrosstalkReport(
        tried_s=_seconds(counters.bleed_tried_samples),
        bleed_s=_seconds(counters.bleed_samples),
        share=round(counters.bleed_samples / max(1, counters.bleed_tried_samples), 6),
        tracks=counters.tracks_with_bleed,
        gated_s=_seconds(counters.gated_samples),
        sessions=sorted(sessions, key=lambda bleed: (-bleed.share, bleed.session)),
    )


def _session_bleed(result: SessionResult) -> SessionBleed:
    counters = result.counters
    return SessionBleed(
        session=result.session_id,
        tried_s=_seconds(counters.bleed_tried_samples),
        bleed_s=_seconds(counters.bleed_samples),
        share=round(counters.bleed_samples / max(1, counters.bleed_tried_samples), 6),
        gated_s=_seconds(counters.gated_samples),
    )


def _seconds(samples: int) -> float:
    return round(samples / HEARD_HZ, 6)


def _by_name(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items()))
