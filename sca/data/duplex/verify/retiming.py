"""Verify the retiming that the tracks of an augmented session describe."""

from collections.abc import Sequence
from itertools import pairwise

from sca.data.duplex.augment.retime import EARLY
from sca.data.duplex.rows.turn_labels import label
from sca.data.duplex.storage.records import speech_of, units_of
from sca.data.duplex.storage.tracks import StoredTrack
from sca.units import HEARD_HZ

__all__ = ["retimed_problems"]

_SPEAKERS = 2


def retimed_problems(tracks: Sequence[StoredTrack], split: str) -> list[str]:
    """What is wrong with what the tracks of a session say of how they were retimed."""
    said = [track.record["augmented"] for track in tracks]
    if not any(said):
        return []
    if not all(said) or len(said) != _SPEAKERS or len({(one["from"], one["copy"]) for one in said}) > 1:
        return ["its tracks do not agree on what they are made of"]
    problems = [] if split == "train" else [f"is augmented, and in {split}"]
    sides = [units_of(track.record["words"]) for track in tracks]
    for n, (track, one) in enumerate(zip(tracks, said, strict=True)):
        other = speech_of(tracks[1 - n].record)
        for edit in one["edits"]:
            unit = sides[n][edit["unit"]] if edit["unit"] < len(sides[n]) else None
            found = label((unit.start, unit.end), len(unit.words), other) if unit else None
            if found is None or found.offset is None or abs(found.offset / HEARD_HZ - edit["offset_s"]) > 1e-6:
                name = track.record["speaker_id"]
                problems.append(
                    f"{name}: unit {edit['unit']} should begin {edit['offset_s']:.3f} s after the other's end"
                )
            elif edit["kind"] == EARLY and found.kind != "interruption":
                problems.append(f"{track.record['speaker_id']}: unit {edit['unit']} should be an interruption")
        if any(a > b for a, b in pairwise(edit["unit"] for edit in one["edits"])):
            problems.append(f"{track.record['speaker_id']}: its edits are not in order")
    return problems
