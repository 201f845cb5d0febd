"""Inject defects into a good corpus and print which findings and repairs each gives, as a table and one JSON document.

The corpus is built once; a defect changes the words or the audio of the stored tracks, which are then measured again as
`sca verify` does. The good data must give no finding (`false_alarms` 0), and every defect its own kind (`missed` 0). A
repair is compared with what undoes the defect: `offset_error_s` is the largest distance that remains between a word and
its true place, `drift_error` the largest difference of drifts, and `wrong_repairs` counts tracks without the repair that
they need, or with one that they do not need (0).

    uv run python scripts/bench/duplex_repair.py CORPUS
"""

import argparse
import copy
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from duplex_defects import Tracks, half, mixed, moved, noise, swapped

from sca.config import load_settings
from sca.data.duplex.build.dataset import build_duplex
from sca.data.duplex.evidence.judge import judge
from sca.data.duplex.evidence.measure import measure_session
from sca.data.duplex.model.evidence import FindingKind, TrackEvidence
from sca.data.duplex.model.records import TrackRecord
from sca.data.duplex.storage.reader import open_dataset

Errors = tuple[float, float] | None


def reversed_order(tracks: Tracks) -> Tracks:
    """Put the words of both speakers in the reverse order of time, which no offset or drift undoes."""
    records, audio = tracks
    end = max(word["end"] for record in records for word in record["words"])
    for record in records:
        for word in record["words"]:
            word["start"], word["end"] = end - word["end"], end - word["start"]
        record["words"].sort(key=lambda word: word["start"])
    return records, audio


@dataclass(frozen=True)
class Defect:
    """A defect.

    Attributes:
        make: Changes the tracks.
        findings: Kinds of which one must be found; empty for good data.
        undone_by: What undoes it in each track: whether the recordings are exchanged, offset and drift; None if nothing.
    """

    make: Callable[[Tracks], Tracks]
    findings: tuple[FindingKind, ...] = ()
    undone_by: tuple[tuple[bool, float, float] | None, ...] = (None, None)


DEFECTS = {
    "good": Defect(lambda tracks: tracks),
    "recordings swapped": Defect(swapped, ("swapped",), ((True, 0, 0),) * 2),
    "one track 1 s late": Defect(lambda one: moved(one, lambda t: t + 1, [0]), ("offset",), ((False, -1, 0), None)),
    "words 0.7 s early": Defect(lambda one: moved(one, lambda t: t - 0.7), ("offset",), ((False, 0.7, 0),) * 2),
    "clock 8 % off": Defect(lambda one: moved(one, lambda t: t / 1.08), ("drift",), ((False, 0, 0.08),) * 2),
    "clock 1 % off": Defect(lambda one: moved(one, lambda t: t / 1.01), ("drift",), ((False, 0, 0.01),) * 2),
    "1 s late, clock 3 % off": Defect(
        lambda one: moved(one, lambda t: (t + 1) / 1.03), ("drift",), ((False, -1, 0.03),) * 2
    ),
    "swapped and 1 s late": Defect(
        lambda one: swapped(moved(one, lambda t: t + 1)), ("swapped", "mismatch"), ((True, -1, 0),) * 2
    ),
    "words in reverse order": Defect(reversed_order, ("mismatch",)),
    "half of the lines missing": Defect(half, ("unlabelled_speech",)),
    "noise for speech": Defect(noise, ("no_speech",)),
    "one mix on both tracks": Defect(mixed, ("same_speech",)),
}


def repair_errors(track: TrackEvidence, record: TrackRecord, undone_by: tuple[bool, float, float] | None) -> Errors:
    """Return the errors of a repair in seconds and as a drift; None if it is needed and missing, or the reverse."""
    one = track.explained
    if undone_by is None or one is None:
        return (0.0, 0.0) if undone_by is one else None
    exchanged, offset_s, drift = undone_by
    at = [record["words"][number]["start"] for number in (0, -1)]
    error_s = max(abs(one.offset_s - offset_s + (one.drift - drift) * time) for time in at)
    return (error_s, abs(one.drift - drift)) if one.exchanged == exchanged else None


def main() -> None:
    """Print the table and the JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    corpus = parser.parse_args().corpus
    settings = load_settings(overrides={"duplex.model_path": "builtin:qwen"}, env={})
    found: dict[str, dict[str, list[str]]] = {name: {} for name in DEFECTS}
    errors: list[Errors] = []
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        build_duplex(corpus, Path(folder) / "data", settings)
        data = open_dataset(Path(folder) / "data")
        for session, (name, defect) in product(data.sessions, DEFECTS.items()):
            stored = data.tracks(session)
            records, audio = defect.make((copy.deepcopy([one.record for one in stored]), [one.heard for one in stored]))
            measured = measure_session(records, audio)
            kinds = [finding.kind for finding in judge(measured, settings.duplex).findings]
            right = not kinds if not defect.findings else bool({*kinds} & {*defect.findings})
            missed += not right and bool(defect.findings)
            of_tracks = [repair_errors(*one) for one in zip(measured, records, defect.undone_by, strict=True)]
            found[name][session] = kinds
            errors += of_tracks
            repair = ", ".join("WRONG" if one is None else f"{one[0]:.3f} s {one[1]:.3%}" for one in of_tracks)
            listed = ", ".join(kinds) or "no finding"
            print(f"{name:26} {session:20} {listed:32} {repair:32} {'' if right else 'MISSED'}")
    print(
        json.dumps(
            {
                "bench": "duplex_repair",
                "false_alarms": sum(map(len, found["good"].values())),
                "missed": missed,
                "wrong_repairs": errors.count(None),
                "offset_error_s": round(max(one[0] for one in errors if one), 4),
                "drift_error": round(max(one[1] for one in errors if one), 6),
                "found": found,
            }
        )
    )


if __name__ == "__main__":
    main()
