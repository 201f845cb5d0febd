"""The report that travels with a data set: what was counted, as numbers a person and a program can read.

Derived from tallies alone, so that `sca verify` can recompute it from the files and compare.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from sca.config import Settings
from sca.data.duplex.model.counters import ProofCounters
from sca.data.duplex.model.report import (
    Alignment,
    Audio,
    Augmented,
    Bleeding,
    Chunks,
    Coverage,
    Leak,
    Placement,
    Report,
    Sessions,
    Talk,
)
from sca.data.duplex.model.session import SessionResult
from sca.data.duplex.storage.digests import chain
from sca.units import HEARD_HZ

__all__ = ["make_report", "placement_of"]


def placement_of(errors: Counter[int], chunk_s: float) -> tuple[float, float, float, float, float]:
    """(mean, p95, max late, max early) of the absolute errors in seconds, and the share of exact ones."""
    total = sum(errors.values())
    if not total:
        return 0.0, 0.0, 0.0, 0.0, 1.0
    mean = sum(abs(error) * count for error, count in errors.items()) / total
    seen, p95 = 0, 0
    sizes: Counter[int] = Counter()
    for error, count in errors.items():
        sizes[abs(error)] += count
    for size in sorted(sizes):
        seen += sizes[size]
        p95 = size
        if seen >= 0.95 * total:
            break
    late, early = max(0, *errors), max(0, -min(errors))
    return mean * chunk_s, p95 * chunk_s, late * chunk_s, early * chunk_s, errors[0] / total


def make_report(
    settings: Settings,
    made: dict[str, Any],
    version: str,
    results: Sequence[SessionResult],
    skipped: Sequence[str],
    structural_s: float | None = None,
) -> Report:
    """Add up what the sessions counted. structural_s: the measured structural leak, where it was measured."""
    kept = [r for r in results if r.status == "kept"]
    tally = ProofCounters()
    for result in kept:
        tally.add(result.tally)
    counts, chunk_s = tally.counts, float(settings.grid.chunk_s)
    mean, p95, late, early, exact = placement_of(tally.errors, chunk_s)
    words = counts["words"] + counts["words_dropped_on_request"]
    return Report(
        sca_version=version,
        made_with=made,
        sessions=Sessions(
            kept=len(kept),
            dropped=sum(r.status == "dropped" for r in results),
            failed=sum(r.status == "failed" for r in results),
            tracks=sum(r.tracks for r in kept),
            hours=round(sum(r.samples for r in kept) / HEARD_HZ / 3600, 6),
        ),
        rows=counts["rows"],
        splits={
            split: sum(r.rows for r in kept if r.split == split)
            for split in sorted({r.split for r in kept} | {"train"})
        },
        segments=_named(counts, "segments_"),
        controls=_named(counts, "control_"),
        align_source={k: v for k, v in _named(counts, "words_").items() if k != "dropped_on_request"},
        alignment=Alignment(
            method=settings.duplex.align,
            utterances=counts["align_units"],
            aligned=counts["align_aligned"],
            fallbacks=_named(counts, "align_fell_"),
        ),
        placement=Placement(
            tokens=sum(tally.errors.values()),
            mean_error_s=round(mean, 6),
            p95_error_s=round(p95, 6),
            max_late_s=round(late, 6),
            max_early_s=round(early, 6),
            share_exact=round(exact, 6),
            tokens_first_chunk=counts["tokens_first_chunk"],
            units_flagged_lag=counts["units_flagged_lag"] + counts["units_dropped"],
        ),
        leak=Leak(
            structural_s=structural_s,
            placement_tokens=counts["tokens_leaked"],
            lagged_tokens=counts["tokens_lagged_past_onset"],
            lagged_s=round(counts["samples_lagged_past_onset"] / HEARD_HZ, 6),
        ),
        coverage=Coverage(
            words=words,
            words_in_rows=counts["words"],
            share=round(counts["words"] / words, 6) if words else 1.0,
            tokens_dropped=counts["text_tokens"] - sum(tally.errors.values()),
            tokens_dropped_on_request=counts["tokens_dropped_on_request"],
            units_dropped_on_request=counts["units_dropped"],
        ),
        talk=_talk(counts, chunk_s),
        chunks=Chunks(
            chunks=counts["chunks"],
            silent_share=round(tally.used[0] / counts["chunks"], 6) if counts["chunks"] else 1.0,
            text_tokens=counts["text_tokens"],
            used={str(k): v for k, v in sorted(tally.used.items())},
            encoder_tokens_per_chunk=settings.grid.frames_per_chunk,
            extended=counts["extended_chunks"],
        ),
        audio=Audio(
            tracks_padded=counts["tracks_padded"],
            padded_s=round(counts["padded_samples"] / HEARD_HZ, 6),
            tracks_mixed_down=counts["tracks_mixed_down"],
            tracks_clipped=counts["tracks_clipped"],
            clipped_samples=counts["clipped_samples"],
            tracks_silent=counts["tracks_silent"],
            non_finite_samples=counts["non_finite_samples"],
            missing_embeddings=counts["tracks_without_embedding"],
        ),
        bleed=Bleeding(
            tried_s=round(counts["bleed_tried_samples"] / HEARD_HZ, 6),
            bleed_s=round(counts["bleed_samples"] / HEARD_HZ, 6),
            share=round(counts["bleed_samples"] / max(1, counts["bleed_tried_samples"]), 6),
            tracks=counts["tracks_with_bleed"],
            gated_s=round(counts["gated_samples"] / HEARD_HZ, 6),
        ),
        augmented=Augmented(sessions=sum(r.augmented_from is not None for r in kept), edits=_named(counts, "edit_")),
        row_flags=_named(counts, "rows_"),
        skipped=len(skipped) + sum(len(r.skipped) for r in results),
        notices=sum(len(r.notices) for r in results),
        storage_digest=chain(d for r in kept for d in r.storage_digests),
        rows_digest=chain(d for r in kept for d in r.row_digests),
    )


def _talk(counts: Counter[str], chunk_s: float) -> Talk:
    minutes = counts["chunks"] * chunk_s / 60
    spoken = counts["spoken_samples"]
    offsets = {int(tenths): count for tenths, count in _named(counts, "floor_offset_").items()}

    def a_minute(kind: str) -> float:
        return round(counts[f"segments_{kind}"] / minutes, 6) if minutes else 0.0

    return Talk(
        overlap_share=round(counts["overlapped_samples"] / spoken, 6) if spoken else 0.0,
        turns_a_minute=a_minute("turn"),
        backchannels_a_minute=a_minute("backchannel"),
        interruptions_a_minute=a_minute("interruption"),
        floor_offset_s={f"{tenths / 10:.1f}": offsets[tenths] for tenths in sorted(offsets)},
    )


def _named(counts: Counter[str], prefix: str) -> dict[str, int]:
    return {k.removeprefix(prefix): v for k, v in sorted(counts.items()) if k.startswith(prefix)}
