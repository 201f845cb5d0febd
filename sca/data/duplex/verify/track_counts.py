"""Count the recordings of a data set."""

from collections.abc import Mapping
from typing import Any

from sca.data.duplex.model.counters import ProofCounters
from sca.units import HEARD_HZ

__all__ = ["SILENT_PEAK", "count_audio"]


def count_audio(record: Mapping[str, Any], tally: ProofCounters) -> None:
    """Add what one track's row of `storage` says of its recording."""
    counts, provenance = tally.counts, record["provenance"]
    counts["tracks"] += 1
    counts["tracks_without_embedding"] += record["speaker_embedding"] is None
    for bleed in record["bleed"]:
        counts["bleed_tried_samples"] += round(bleed["tried_s"] * HEARD_HZ)
        counts["bleed_samples"] += round(bleed["bleed_s"] * HEARD_HZ)
    counts["tracks_with_bleed"] += any(bleed["bleed_s"] for bleed in record["bleed"])
    retimed = record["augmented"]
    for edit in retimed["edits"] if retimed else ():
        counts[f"edit_{edit['kind']}"] += 1
    counts["gated_samples"] += sum(round((span["end"] - span["start"]) * HEARD_HZ) for span in record["gated"])
    for name in ("padded", "clipped", "non_finite"):
        counts[f"{name}_samples"] += provenance[f"{name}_samples"]
    counts["tracks_padded"] += provenance["padded_samples"] > 0
    counts["tracks_clipped"] += provenance["clipped_samples"] > 0
    counts["tracks_silent"] += provenance["peak"] < SILENT_PEAK
    counts["tracks_mixed_down"] += provenance["channels"] > 1


SILENT_PEAK = 1e-3
"""A track that never gets louder than this (-60 dBFS) holds no speech."""
