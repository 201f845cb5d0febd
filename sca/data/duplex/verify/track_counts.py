"""Count the properties of a recording."""

from sca.data.duplex.model.counters import ProofCounters
from sca.data.duplex.model.records import TrackRecord
from sca.data.duplex.storage.records import span_of, unlabelled_of
from sca.spans import merge_spans
from sca.units import HEARD_HZ, seconds_to_samples

__all__ = ["SILENT_PEAK", "count_track"]

SILENT_PEAK = 1e-3
"""A track with a peak below this (-60 dBFS) contains no speech."""


def count_track(record: TrackRecord, counters: ProofCounters) -> None:
    """Add one track to the counters."""
    provenance = record["provenance"]
    counters.tracks += 1
    counters.tracks_without_embedding += record["speaker_embedding"] is None
    for bleed in record["bleed"]:
        counters.bleed_tried_samples += seconds_to_samples(bleed["tried_s"], HEARD_HZ)
        counters.bleed_samples += seconds_to_samples(bleed["bleed_s"], HEARD_HZ)
    counters.tracks_with_bleed += any(bleed["bleed_s"] for bleed in record["bleed"])
    if not record["augmented"]:
        counters.rates[str(provenance["rate_hz"])] += 1
    else:
        counters.edits.update(edit["kind"] for edit in record["augmented"]["edits"])
    for start, end in map(span_of, record["gated"]):
        counters.gated_samples += end - start
    unlabelled = unlabelled_of(record)
    for span in unlabelled:
        counters.unlabelled[span.reason] += span.end - span.start
    counters.unlabelled_samples += sum(
        end - start for start, end in merge_spans((span.start, span.end) for span in unlabelled)
    )
    counters.padded_samples += provenance["padded_samples"]
    counters.clipped_samples += provenance["clipped_samples"]
    counters.non_finite_samples += provenance["non_finite_samples"]
    counters.tracks_padded += provenance["padded_samples"] > 0
    counters.tracks_clipped += provenance["clipped_samples"] > 0
    counters.tracks_silent += provenance["peak"] < SILENT_PEAK
    counters.tracks_mixed_down += provenance["channels"] > 1
