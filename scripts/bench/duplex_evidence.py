"""Inject defects into a good corpus and print which findings each gives, as a table and one JSON document.

The corpus is built once; a defect changes the words or the audio of the stored tracks, which are then measured again as
`sca verify` does. The good data must give no finding (`false_alarms` 0), and every defect its own kind.

    uv run python scripts/bench/duplex_evidence.py CORPUS
"""

import argparse
import copy
import io
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import soundfile as sf

from sca.config import load_settings
from sca.data.duplex.build.dataset import build_duplex
from sca.data.duplex.evidence.judge import judge
from sca.data.duplex.evidence.measure import measure_session
from sca.data.duplex.model.records import TrackRecord
from sca.data.duplex.storage.reader import open_dataset
from sca.units import HEARD_HZ

Tracks = tuple[list[TrackRecord], list[pa.Buffer]]


def moved(tracks: Tracks, time: Callable[[float], float], only: Sequence[int] = (0, 1)) -> Tracks:
    """Change the times of the words of some tracks."""
    records, audio = tracks
    for number in only:
        for word in records[number]["words"]:
            word["start"], word["end"] = time(word["start"]), time(word["end"])
    return records, audio


def encoded(samples: np.ndarray) -> pa.Buffer:
    """Encode samples as a stored track."""
    file = io.BytesIO()
    sf.write(file, samples, HEARD_HZ, subtype="PCM_16", format="FLAC")
    return pa.py_buffer(file.getvalue())


def decoded(cell: pa.Buffer) -> np.ndarray:
    """Decode a stored track."""
    return np.asarray(sf.read(pa.BufferReader(cell), dtype="float32")[0])


def half(tracks: Tracks) -> Tracks:
    """Leave out every second utterance of the first speaker."""
    records, audio = tracks
    records[0]["words"] = [word for word in records[0]["words"] if word["unit"] % 2 == 0]
    return records, audio


def noise(tracks: Tracks) -> Tracks:
    """Replace the first recording by noise."""
    records, audio = tracks
    sound = np.random.default_rng(0).normal(0, 0.05, len(decoded(audio[0])))
    return records, [encoded(sound), *audio[1:]]


def mixed(tracks: Tracks) -> Tracks:
    """Put the mix of the recordings on both tracks."""
    records, audio = tracks
    mix = encoded(sum(map(decoded, audio)) / len(audio))
    return records, [mix] * len(audio)


# A defect, and the kind of finding that it must give; None for good data.
DEFECTS: dict[str, tuple[Callable[[Tracks], Tracks], str | None]] = {
    "good": (lambda tracks: tracks, None),
    "recordings swapped": (lambda tracks: (tracks[0], tracks[1][::-1]), "swapped"),
    "one track 1 s late": (lambda tracks: moved(tracks, lambda t: t + 1, [0]), "offset"),
    "clock 8 % off": (lambda tracks: moved(tracks, lambda t: t * 0.92), "drift"),
    "clock 1 % off": (lambda tracks: moved(tracks, lambda t: t * 0.99), "drift"),
    "half of the lines missing": (half, "unlabelled_speech"),
    "noise for speech": (noise, "no_speech"),
    "one mix on both tracks": (mixed, "same_speech"),
}


def main() -> None:
    """Print the table and the JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    corpus = parser.parse_args().corpus
    settings = load_settings(overrides={"duplex.model_path": "builtin:qwen"}, env={})
    found: dict[str, dict[str, list[str]]] = {name: {} for name in DEFECTS}
    with tempfile.TemporaryDirectory() as folder:
        build_duplex(corpus, Path(folder) / "data", settings)
        data = open_dataset(Path(folder) / "data")
        for session in data.sessions:
            stored = data.tracks(session)
            for name, (change, _) in DEFECTS.items():
                records = [copy.deepcopy(track.record) for track in stored]
                measured = measure_session(*change((records, [track.heard for track in stored])))
                found[name][session] = [finding.kind for finding in judge(measured, settings.duplex).findings]
    missed = 0
    for name, (_, wanted) in DEFECTS.items():
        for session, kinds in found[name].items():
            right = not kinds if wanted is None else wanted in kinds
            missed += not right and wanted is not None
            print(f"{name:28} {session:20} {', '.join(kinds) or 'no finding':40} {'' if right else 'MISSED'}")
    false_alarms = sum(map(len, found["good"].values()))
    print(json.dumps({"bench": "duplex_evidence", "false_alarms": false_alarms, "missed": missed, "found": found}))


if __name__ == "__main__":
    main()
