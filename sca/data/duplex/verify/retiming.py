"""Verify how the tracks of an augmented session were retimed."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from sca.data.duplex.augment.retime import EARLY
from sca.data.duplex.model.labels import INTERRUPTION
from sca.data.duplex.model.records import EditRecord, RowRecord
from sca.data.duplex.model.spans import Span
from sca.data.duplex.model.units import Unit
from sca.data.duplex.rows.turn_labels import label
from sca.data.duplex.storage.records import speech_of, units_of
from sca.data.duplex.storage.tracks import StoredTrack
from sca.data.duplex.verify.row_fields import ROW_FLAGS
from sca.units import HEARD_HZ

__all__ = ["retimed_flag_problems", "retimed_problems"]

_SPEAKERS = 2
_TOLERANCE_S = 1e-6


def retimed_problems(tracks: Sequence[StoredTrack], split: str) -> list[str]:
    """Return what is wrong with the recorded retiming of a session's tracks.

    Args:
        tracks: The tracks of the session.
        split: The split of its rows.
    """
    recorded = [track.record["augmented"] for track in tracks]
    if not any(recorded):
        return []
    retimings = [retiming for retiming in recorded if retiming]
    sources = {(retiming["from"], retiming["copy"]) for retiming in retimings}
    if len(retimings) != len(tracks) or len(tracks) != _SPEAKERS or len(sources) > 1:
        return ["its tracks do not agree on the session that they are made from"]
    problems = [] if split == "train" else [f"is augmented, and in {split}"]
    for n, (track, retiming) in enumerate(zip(tracks, retimings, strict=True)):
        units, other = units_of(track.record["words"]), speech_of(tracks[1 - n].record)
        name = track.record["speaker_id"]
        found = [_edit_problem(edit, units, other) for edit in retiming["edits"]]
        problems += [f"{name}: {problem}" for problem in found if problem]
        if any(a > b for a, b in pairwise(edit["unit"] for edit in retiming["edits"])):
            problems.append(f"{name}: its edits are not in order")
    return problems


def retimed_flag_problems(
    rows: Iterable[RowRecord], tracks: Sequence[StoredTrack], chunk_samples: int
) -> Iterator[str]:
    """Yield rows with other flags of retiming than their edits give, or with unknown flags.

    Args:
        rows: The rows of a session.
        tracks: Its tracks.
        chunk_samples: Samples of a chunk at 16 kHz.
    """
    edits: list[tuple[int, str]] = []
    for track in tracks:
        units = units_of(track.record["words"]) if track.record["augmented"] else []
        made = track.record["augmented"]["edits"] if track.record["augmented"] else []
        edits += [(units[edit["unit"]].span[0], edit["kind"]) for edit in made if edit["unit"] < len(units)]
    augmented = {"augmented"} if any(track.record["augmented"] for track in tracks) else set()
    for row in rows:
        first = row["start_chunk"] * chunk_samples
        last = first + (row["n_chunks"] - row["extended_chunks"]) * chunk_samples
        expected = augmented | {kind for onset, kind in edits if first <= onset < last}
        if (found := set(row["flags"]) - ROW_FLAGS) != expected:
            names = (", ".join(sorted(flags)) or "none" for flags in (found, expected))
            yield "{}: has the flags {}, the retiming of its session gives {}".format(row["row_id"], *names)


def _edit_problem(edit: EditRecord, units: Sequence[Unit], other: Sequence[Span]) -> str | None:
    unit = units[edit["unit"]] if edit["unit"] < len(units) else None
    found = label(unit.span, len(unit.words), other) if unit else None
    if found is None or found.offset is None or abs(found.offset / HEARD_HZ - edit["offset_s"]) > _TOLERANCE_S:
        return f"unit {edit['unit']} should begin {edit['offset_s']:.3f} s after the other speaker ends"
    if edit["kind"] == EARLY and found.kind != INTERRUPTION:
        return f"unit {edit['unit']} should be an interruption"
    return None
