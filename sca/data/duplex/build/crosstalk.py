"""What of the other speakers is in each track of a session, and what is done about it."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

from sca.data.duplex.audio.crosstalk import measure
from sca.data.duplex.audio.encode_tracks import EncodedTrack
from sca.data.duplex.audio.silence_gate import gate_spans, silence
from sca.data.duplex.model.crosstalk import Bleed, CrosstalkResult
from sca.data.duplex.model.spans import Span

__all__ = ["NOTHING", "overhear", "worst_bleed"]


NOTHING = CrosstalkResult()


def overhear(
    speakers: Sequence[str],
    tracks: Sequence[EncodedTrack],
    talk: Sequence[Sequence[Span]],
    on_bleed: Literal["keep", "gate", "drop"],
) -> list[CrosstalkResult]:
    """For each track what of the others is in it. `gate` silences both rates of a track where it is nothing else.

    talk: where each of them speaks.
    """

    def one(pair: tuple[int, int]) -> Bleed:
        i, j = pair
        return measure(speakers[i], tracks[i].heard, talk[i], tracks[j].heard, talk[j])

    pairs = [(i, j) for j in range(len(tracks)) for i in range(len(tracks)) if i != j]
    # Decoding runs outside the interpreter's lock, so a second core takes the other direction.
    with ThreadPoolExecutor(2) as both:
        measured = list(both.map(one, pairs))
    found = [
        CrosstalkResult(tuple(bleed for (_, heard_in), bleed in zip(pairs, measured, strict=True) if heard_in == j))
        for j in range(len(tracks))
    ]
    if on_bleed != "gate":
        return found
    # Only once all are measured: a silenced track has nothing left that could be found in another.
    gated = []
    for track, own, heard in zip(tracks, talk, found, strict=True):
        spans = gate_spans([span for bleed in heard.bleed for span in bleed.only], own, track.samples)
        for file in (track.heard, track.spoken) if spans else ():
            silence(file, spans)
        gated.append(CrosstalkResult(heard.bleed, tuple(spans)))
    return gated


def worst_bleed(speakers: Sequence[str], found: Sequence[CrosstalkResult], most: float) -> str | None:
    """Why a session is not fit, in words: the pair with the largest share of bleed, if it is above `most`."""
    pairs = [
        (bleed.share, speaker, bleed) for speaker, heard in zip(speakers, found, strict=True) for bleed in heard.bleed
    ]
    share, speaker, bleed = max(pairs, key=lambda pair: pair[0])
    if share <= most or bleed.level_db is None:
        return None
    return (
        f"{share:.0%} of what {bleed.of} says alone is heard in the track of {speaker} too "
        f"({bleed.samples / 16_000:.1f} s, {bleed.level_db:.0f} dB, {bleed.delay_ms:.1f} ms later), at most {most:.0%} may be"
    )
