"""Cross-talk between all tracks of a session: measured, and silenced if that is configured."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from typing import Literal

from sca.data.duplex.audio.crosstalk import measure
from sca.data.duplex.audio.encode_tracks import EncodedTrack
from sca.data.duplex.audio.silence_gate import gate_spans, silence
from sca.data.duplex.model.crosstalk import Bleed, CrosstalkResult
from sca.data.duplex.model.spans import Span
from sca.units import HEARD_HZ, samples_to_seconds

__all__ = ["excess_bleed", "process_crosstalk"]


def process_crosstalk(
    speakers: Sequence[str],
    tracks: Sequence[EncodedTrack],
    speech: Sequence[Sequence[Span]],
    on_bleed: Literal["keep", "gate", "drop"],
) -> list[CrosstalkResult]:
    """Measure the cross-talk of every speaker into every other track.

    Args:
        speakers: The speakers.
        tracks: Their tracks.
        speech: Where each of them speaks.
        on_bleed: `gate` silences both files of a track where it holds nothing but cross-talk.

    Returns:
        One result per track.
    """
    pairs = list(permutations(range(len(tracks)), 2))

    def measure_pair(pair: tuple[int, int]) -> Bleed:
        speaker, listener = pair
        return measure(
            speakers[speaker], tracks[speaker].heard, speech[speaker], tracks[listener].heard, speech[listener]
        )

    # Decoding releases the interpreter lock, so the other direction runs on a second core.
    with ThreadPoolExecutor(2) as pool:
        measured = dict(zip(pairs, pool.map(measure_pair, pairs), strict=True))
    results = [
        CrosstalkResult(tuple(bleed for (_, listener), bleed in measured.items() if listener == track))
        for track in range(len(tracks))
    ]
    if on_bleed != "gate":
        return results
    # After all measurements, because a silenced track has no cross-talk left to measure in another.
    gated = []
    for track, own, result in zip(tracks, speech, results, strict=True):
        spans = gate_spans([span for bleed in result.bleed for span in bleed.only], own, track.samples)
        for file in (track.heard, track.spoken) if spans else ():
            silence(file, spans)
        gated.append(CrosstalkResult(result.bleed, tuple(spans)))
    return gated


def excess_bleed(speakers: Sequence[str], results: Sequence[CrosstalkResult], max_share: float) -> str | None:
    """Describe the pair with the largest share of cross-talk if it is above `max_share`; otherwise return None."""
    pairs = [
        (bleed.share, speaker, bleed)
        for speaker, result in zip(speakers, results, strict=True)
        for bleed in result.bleed
    ]
    share, speaker, bleed = max(pairs, key=lambda pair: pair[0])
    if share <= max_share or bleed.level_db is None:
        return None
    seconds = samples_to_seconds(bleed.samples, HEARD_HZ)
    return (
        f"{share:.0%} of the solo speech of {bleed.of} is also audible in the track of {speaker} "
        f"({seconds:.1f} s, {bleed.level_db:.0f} dB, {bleed.delay_ms:.1f} ms later); the limit is {max_share:.0%}"
    )
