"""The words that a row hears, of one speaker or of several."""

from collections.abc import Sequence

from sca.data.duplex.model.records import WordRecord
from sca.data.duplex.storage.tracks import StoredTrack

__all__ = ["unlabelled_within", "words_within"]


def words_within(tracks: Sequence[StoredTrack], start_s: float, end_s: float) -> list[WordRecord] | None:
    """Return the words of tracks that start and end within a stretch, with times from its start.

    Args:
        tracks: The tracks.
        start_s: Start of the stretch in seconds.
        end_s: Its end.

    Returns:
        The words in the order in which they end, with the units of all tracks numbered in time order; the words of a
        single track as stored. None if no track has a transcript.
    """
    known = [track.record["words"] for track in tracks if track.has_transcript]
    if not known:
        return None
    words = known[0] if len(known) == 1 else _in_time_order(known)
    within = (word for word in words if start_s <= word["start"] and word["end"] <= end_s)
    return [{**word, "start": word["start"] - start_s, "end": word["end"] - start_s} for word in within]


def _in_time_order(words: Sequence[Sequence[WordRecord]]) -> list[WordRecord]:
    """Merge the words of several tracks."""
    merged = [(word["end"], word["start"], n, word) for n, own in enumerate(words) for word in own]
    merged.sort(key=lambda one: one[:3])
    first_of_unit: dict[tuple[int, int], float] = {}
    for _, start_s, n, word in merged:
        unit = n, word["unit"]
        first_of_unit[unit] = min(first_of_unit.get(unit, start_s), start_s)
    numbers = {unit: number for number, unit in enumerate(sorted(first_of_unit, key=lambda u: (first_of_unit[u], u)))}
    return [{**word, "unit": numbers[n, word["unit"]]} for _, _, n, word in merged]


def unlabelled_within(tracks: Sequence[StoredTrack], start_s: float, end_s: float) -> tuple[tuple[float, float], ...]:
    """Return where tracks have speech without words within a stretch, with times from its start.

    A track without a transcript among others with one has no words anywhere it speaks.

    Args:
        tracks: The tracks.
        start_s: Start of the stretch in seconds.
        end_s: Its end.
    """
    some_known = any(track.has_transcript for track in tracks)
    found = [(span["start"], span["end"]) for track in tracks for span in track.record["unlabelled"]]
    for track in tracks:
        if some_known and not track.has_transcript:
            found += [(span["start"], span["end"]) for span in track.record["speech"]]
    return tuple(
        (max(first, start_s) - start_s, min(last, end_s) - start_s)
        for first, last in (sorted(found) if len(tracks) > 1 else found)
        if first < end_s and last > start_s
    )
