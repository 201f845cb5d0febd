"""Inject defects into good corpora and print which findings each gives, and what the measurement costs a build.

A corpus is built once; a defect changes the words or the audio of the stored tracks, which are then measured again as
`sca verify` does. The good data must give no finding (`false_alarms` 0), and every defect its own kind. The cost is the
processor time of building each corpus with and without the measurement: one process each, in turn, medians, first of
the build alone (`build_cpu_s`, without what a run loads once), then of the whole process (`process_cpu_s`, as a user
sees it). Prints a table and one JSON document.

    uv run python scripts/bench/duplex_evidence.py CORPUS ... [--rounds 5]
"""

import argparse
import copy
import json
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

from build_duplex import build
from duplex_defects import Tracks, half, mixed, moved, noise, swapped

from sca.config import load_settings
from sca.data.duplex.build.dataset import build_duplex
from sca.data.duplex.evidence.judge import judge
from sca.data.duplex.evidence.measure import measure_session
from sca.data.duplex.storage.reader import open_dataset

# A defect, and the kind of finding that it must give; None for good data.
DEFECTS: dict[str, tuple[Callable[[Tracks], Tracks], str | None]] = {
    "good": (lambda tracks: tracks, None),
    "recordings swapped": (swapped, "swapped"),
    "one track 1 s late": (lambda tracks: moved(tracks, lambda t: t + 1, [0]), "offset"),
    "clock 8 % off": (lambda tracks: moved(tracks, lambda t: t * 0.92), "drift"),
    "clock 1 % off": (lambda tracks: moved(tracks, lambda t: t * 0.99), "drift"),
    "half of the lines missing": (half, "unlabelled_speech"),
    "noise for speech": (noise, "no_speech"),
    "one mix on both tracks": (mixed, "same_speech"),
}


Found = dict[str, dict[str, list[str]]]
"""The kinds of findings of every session, by defect."""


def findings(corpus: Path, data: Path) -> Found:
    """Build a corpus, and return what is found with every defect."""
    settings = load_settings(overrides={"duplex.model_path": "builtin:qwen"}, env={})
    found: Found = {name: {} for name in DEFECTS}
    build_duplex(corpus, data, settings)
    stored_data = open_dataset(data)
    for session in stored_data.sessions:
        stored = stored_data.tracks(session)
        for name, (change, _) in DEFECTS.items():
            records = [copy.deepcopy(track.record) for track in stored]
            measured = measure_session(*change((records, [track.heard for track in stored])))
            found[name][session] = [finding.kind for finding in judge(measured, settings.duplex).findings]
    return found


def mistakes(found: Found) -> dict[str, int]:
    """Return the number of findings in good data, and of defects that were not reported as themselves."""
    missed = sum(
        wanted is not None and wanted not in kinds
        for name, (_, wanted) in DEFECTS.items()
        for kinds in found[name].values()
    )
    return {"false_alarms": sum(map(len, found["good"].values())), "missed": missed}


def print_findings(found: Found) -> None:
    """Print the table of defects and findings."""
    for name, (_, wanted) in DEFECTS.items():
        for session, kinds in found[name].items():
            right = not kinds if wanted is None else wanted in kinds
            print(f"{name:28} {session:20} {', '.join(kinds) or 'no finding':40} {'' if right else 'MISSED'}")


def cost(corpus: Path, data: Path, rounds: int) -> dict[str, float]:
    """Return the processor seconds of a build and its process without and with the measurement, and how much more."""
    spent: dict[bool, list[dict[str, float]]] = {False: [], True: []}
    for number in range(rounds + 1):
        for evidence, times in spent.items():
            built = build(corpus, data, evidence=evidence)
            if number:  # the first round fills the caches of tokenizer and pages
                times.append(built)
    result = {}
    for name, key in (("build", "build_cpu_s"), ("process", "cpu_s")):
        without, with_evidence = (statistics.median(one[key] for one in spent[evidence]) for evidence in (False, True))
        result[f"{name}_cpu_s_without"] = round(without, 3)
        result[f"{name}_cpu_s_with"] = round(with_evidence, 3)
        result[f"{name}_more"] = round(with_evidence / without - 1, 3)
    return result


def main() -> None:
    """Print the table and the JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", metavar="CORPUS", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=5, help="builds of each kind for the cost; 0 skips it")
    arguments = parser.parse_args()
    result: dict[str, dict[str, object]] = {}
    for corpus in arguments.corpora:
        with tempfile.TemporaryDirectory() as folder:
            found = findings(corpus, Path(folder) / "data")
            print_findings(found)
            spent = cost(corpus, Path(folder) / "timed", arguments.rounds) if arguments.rounds else {}
        print(f"{corpus}: {mistakes(found) | spent}")
        result[corpus.name] = mistakes(found) | spent | {"found": found}
    print(json.dumps({"bench": "duplex_evidence", "corpora": result}))


if __name__ == "__main__":
    main()
