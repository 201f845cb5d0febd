"""Retimed copies of training conversations: valid, tagged, reproducible, and never in the validation split."""

import datasets
import numpy as np
import pytest

from sca.config import load_settings
from sca.data.duplex.audio.stored_samples import read_samples
from sca.data.duplex.build.dataset import build_duplex
from sca.data.duplex.load.dataset import load
from sca.data.duplex.storage.tracks import stored_tracks
from sca.data.duplex.verify.dataset import verify
from sca.data.duplex.verify.retiming import retimed_problems
from sca.errors import InputError
from sca.units import seconds_to_samples
from tests.helpers import corpus

MANY_EDITS = {
    "augment.copies": 2,
    "augment.early_interruption": 0.4,
    "augment.gap_jitter": 1.0,
    "augment.overlap_jitter": 1.0,
}


def samples(seconds):
    return seconds_to_samples(seconds, 16_000)


def settings(**overrides):
    return load_settings(overrides={"duplex.model_path": "builtin:qwen", **MANY_EDITS, **overrides}, env={})


def talk(root, session, seed):
    """Write a session with noise as speech: two speakers in turn, words with known times."""
    rng = np.random.default_rng(seed)
    at, lines = 0.5, ([], [])
    for n in range(8):
        text = ["hello there my old friend", "so what did you do then", "no way, really", "it was all very strange"][
            n % 4
        ]
        length = 0.35 * len(text.split())
        lines[n % 2].append((round(at, 2), round(at + length, 2), text))
        at += length + float(rng.choice([-0.6, -0.4, 0.3, 0.8, 1.4]))
    for side, name in enumerate("ab"):
        words = [
            [word, a + (b - a) * n / len(text.split()), a + (b - a) * (n + 1) / len(text.split())]
            for a, b, text in lines[side]
            for n, word in enumerate(text.split())
        ]
        sound = rng.normal(0, 0.05, samples(at + 2)).astype(np.float32)
        corpus.write_track(root, f"{session}_{name}{seed}", lines[side], sound, words=words)
    return root


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    root = tmp_path_factory.mktemp("talks")
    for seed in range(3):
        talk(root, f"T{seed}_S_0", seed)
    return root


@pytest.fixture(scope="module")
def data(source, tmp_path_factory):
    root = tmp_path_factory.mktemp("augmented") / "data"
    return root, build_duplex(source, root, settings(**{"duplex.validation": 0.34})).details.report


def test_augmented_rows_are_valid_tagged_and_counted(data):
    root, report = data
    outcome = verify(root)
    assert outcome.holds, outcome.problems[:5]
    assert report.augmented.sessions == 4
    assert set(report.augmented.edits) == {"early_interruption", "gap_jitter", "overlap_jitter"}
    rows = datasets.load_from_disk(str(root))["train"]
    assert {"+" in row["session_id"] for row in rows if "augmented" in row["flags"]} == {True}
    assert all(("+" in row["session_id"]) == ("augmented" in row["flags"]) for row in rows)
    assert report.row_flags["augmented"] == sum("augmented" in row["flags"] for row in rows)
    assert report.row_flags["early_interruption"] > 0
    for track in datasets.load_from_disk(str(root))["storage"]:
        has_origin = track["augmented"] is not None and track["augmented"]["from"] is not None
        assert has_origin == ("+" in track["session_id"])


def test_validation_split_has_no_retimed_sessions(data, source, tmp_path):
    root, _ = data
    plain = build_duplex(source, tmp_path / "plain", corpus.settings(validation=0.34)).details.report
    splits = datasets.load_from_disk(str(root))
    validation = set(splits["validation"]["session_id"])
    assert len(splits["validation"]) == plain.splits["validation"]
    assert not any("+" in name for name in validation)
    assert not any(row["session_id"].split("+")[0] in validation for row in splits["train"])


def test_seed_decides_the_bytes(data, source, tmp_path):
    root, report = data
    chosen = {"duplex.validation": 0.34}
    again = build_duplex(source, tmp_path / "again", settings(**chosen)).details.report
    assert corpus.tree_bytes(tmp_path / "again") == corpus.tree_bytes(root)
    second = build_duplex(source, tmp_path / "again", settings(**chosen))
    assert second.details.built == 0
    assert corpus.tree_bytes(tmp_path / "again") == corpus.tree_bytes(root)
    other = build_duplex(source, tmp_path / "other", settings(**chosen, **{"augment.seed": 1})).details.report
    assert again.rows_digest == report.rows_digest != other.rows_digest


def test_retimed_words_keep_their_audio(data):
    root, _ = data
    for file in sorted((root / "storage").glob("*+1.arrow")):
        origins = stored_tracks(file.with_name(file.name.replace("+1", "")))
        for track, origin in zip(stored_tracks(file), origins, strict=True):
            then, now = origin.record["words"], track.record["words"]
            recorded_words = {(w["unit"], n): w for w, n in numbered(then)}
            for word, n in numbered(now):
                before = recorded_words[word["unit"], n]
                a, b = (samples(w["start"]) + 100 for w in (before, word))
                length = samples(word["end"]) - samples(word["start"]) - 200
                recorded, found = (read_samples(t.heard, at, length, 16_000) for t, at in ((origin, a), (track, b)))
                np.testing.assert_array_equal(found, recorded)


def test_verifies_edits_against_the_words(data):
    file = next(f for f in sorted((data[0] / "storage").glob("*+1.arrow")) if edits(f))
    assert retimed_problems(stored_tracks(file), "train") == []
    assert retimed_problems(stored_tracks(file), "validation") == ["is augmented, and in validation"]
    assert retimed_problems(stored_tracks(file)[:1], "train") == [
        "its tracks do not agree on the session that they are made from"
    ]
    tracks = stored_tracks(file)
    next(t for t in tracks if t.record["augmented"]["edits"]).record["augmented"]["edits"][0]["offset_s"] += 0.25
    (problem,) = retimed_problems(tracks, "train")
    assert "after the other speaker ends" in problem


def edits(file):
    return [edit for track in stored_tracks(file) for edit in track.record["augmented"]["edits"]]


def numbered(words):
    counts = {}
    for word in words:
        n = counts[word["unit"]] = counts.get(word["unit"], -1) + 1
        yield word, n


def test_loads_retimed_rows(data):
    rows = load(data[0])
    retimed = [i for i in range(len(rows)) if "+" in rows.record(i)["session_id"]]
    row = rows[retimed[0]]
    assert row.heard.shape[0] == row.spoken.shape[0] == rows.record(retimed[0])["n_chunks"]


def test_reports_sessions_that_cannot_be_retimed(tmp_path):
    source = talk(tmp_path / "c", "T1_S_0", 1)
    corpus.pair(source)  # both tracks have the same sound
    for n, text in enumerate(("one two", "three four", "five six")):
        noise = np.random.default_rng(n).normal(0, 0.05, 12 * 16_000)
        corpus.write_track(source, f"Z0001_S0001_0_G100{n}", [(1 + 3 * n, 2 + 3 * n, text)], noise)
    summary = build_duplex(source, tmp_path / "data", settings())
    notes = [note for note in summary.details.notices if "not augmented" in note]
    assert [note.split(":")[0] for note in notes] == ["A0001_S0001_0", "Z0001_S0001_0"]
    assert "would be heard twice" in notes[0]
    assert "two speakers" in notes[1]
    assert summary.details.report.augmented.sessions == 2
    assert verify(tmp_path / "data").holds


def test_rejects_a_session_with_the_name_of_a_copy(tmp_path):
    source = talk(talk(tmp_path / "c", "T1_S_0", 1), "T1_S_0+1", 2)
    with pytest.raises(InputError, match=r"a session T1_S_0\+1, which is the name of the retimed T1_S_0"):
        build_duplex(source, tmp_path / "data", settings())
