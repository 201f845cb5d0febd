"""Conversations of more than two speakers: each speaker hears all others mixed, or one other at a time."""

import io
import json

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from sca.cli.main import app
from sca.data.duplex.build.dataset import build_duplex
from sca.data.duplex.inspect.view import open_view
from sca.data.duplex.load.collate import DuplexCollator
from sca.data.duplex.load.dataset import load
from sca.data.duplex.storage.reader import open_dataset
from sca.data.duplex.storage.tracks import stored_tracks
from sca.data.duplex.verify.dataset import verify
from sca.data.export.run import export
from sca.errors import OutputError
from sca.tokenizer import load_tokenizer
from tests.helpers import corpus
from tests.helpers.duplex_files import put_rows, rows_of, storage
from tests.helpers.duplex_mutations import SESSION, change_audio, rewrite_report

LENGTH_S = 40.0
LINES = {
    "G1": [(1.0, 6.0, "and then we walked down to the harbour"), (20.0, 23.0, "it was closed of course")],
    "G2": [(3.0, 3.5, "yes"), (9.0, 13.0, "did you see the boats there"), (30.0, 33.0, "that is a pity")],
    "G3": [(12.0, 16.0, "wait, which boats do you mean"), (26.0, 28.0, "the old ones")],
    "G4": [],  # is present, and says nothing
}


def noise(seed, seconds=LENGTH_S):
    """Return noise so loud that the sum of two tracks is often above full scale."""
    samples = 0.7 * np.random.default_rng(seed).standard_normal(int(seconds * corpus.RATE))
    return np.clip(samples, -1, 1).astype(np.float32)


def group(folder, speakers="G1 G2 G3 G4", session=SESSION):
    for n, speaker in enumerate(speakers.split()):
        corpus.write_track(folder, f"{session}_{speaker}", LINES[speaker], noise(n))
    return folder


def settings(**overrides):
    # A processor may hear speech in noise that another does not, so nothing here depends on the VAD.
    return corpus.settings(**{"window": "5-12", "unlabelled_speech": "keep"} | overrides)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("others")
    build_duplex(group(root / "corpus"), root / "data", settings())
    return root / "data"


def heard_by_hand(data, row):
    """Return the clipped sum of the stored tracks of all other speakers, in the chunks of a row."""
    tracks = stored_tracks(storage(data))
    others = [track for track in tracks if track.record["speaker_id"] != row["speaker"]]
    sounds = [soundfile.read(io.BytesIO(bytes(track.heard)), dtype="float32")[0] for track in others]
    total = np.clip(np.sum(sounds, axis=0, dtype=np.float32), -1, 32767 / 32768)
    first, n = row["start_chunk"] * 5120, row["n_chunks"] * 5120
    padded = np.zeros(n, np.float32)
    padded[: len(total[first : first + n])] = total[first : first + n]
    return padded.reshape(-1, 5120)


def test_each_speaker_hears_all_others(data):
    rows = rows_of(data)
    assert list(dict.fromkeys((row["listener"], row["speaker"]) for row in rows)) == [
        ("G2+G3+G4", "G1"),
        ("G1+G3+G4", "G2"),
        ("G1+G2+G4", "G3"),
        ("G1+G2+G3", "G4"),
    ]
    assert len(rows) > 8, "several windows of each"
    assert rows[0]["row_id"] == f"{SESSION}:G2+G3+G4>G1:000000"
    assert len(stored_tracks(storage(data))) == 4, "no audio is stored twice"
    assert verify(data).holds
    assert "others" in json.loads((data / "settings.json").read_text())["duplex"]


def test_every_window_hears_the_clipped_sum(data):
    loaded = load(data)
    clipped = 0
    for row, stored in zip(loaded, rows_of(data), strict=True):
        expected = heard_by_hand(data, stored)
        np.testing.assert_array_equal(row.heard, expected)
        clipped += int((np.abs(expected) >= 32767 / 32768).sum())
    assert clipped > 1000


def test_turns_are_labelled_against_anyone_of_the_others(data):
    kinds = {(row["speaker"], segment["text"]): segment["kind"] for row in rows_of(data) for segment in row["segments"]}
    assert kinds["G2", "yes"] == "backchannel"  # while G1 speaks
    assert kinds["G3", "wait, which boats do you mean"] == "interruption"  # of G2
    assert kinds["G1", "it was closed of course"] == "turn"


def test_words_of_all_others_are_heard_in_time_order(data, tmp_path):
    loaded = load(data)
    tokenizer = load_tokenizer("builtin:qwen")
    for n, row in enumerate(loaded):
        speaker, record = loaded.record(n)["speaker"], loaded.record(n)
        start_s = record["start_chunk"] * 0.32
        end_s = start_s + record["n_chunks"] * 0.32
        words = [word for other in LINES if other != speaker for word in loaded.words(SESSION, other)]
        within = [word for word in words if start_s <= word["start"] and word["end"] <= end_s]
        expected = [word["word"] for word in sorted(within, key=lambda word: (word["end"], word["start"]))]
        assert [word["word"] for word in row.listener_words] == expected
        labels = DuplexCollator(tokenizer, listener_text=True)([row])["listener_labels"][0].numpy()
        tokens = [int(token) for token in labels if token not in (-100, row.silence_id)]
        assert " ".join(expected).startswith(tokenizer.decode(tokens).strip())


@pytest.mark.parametrize("kind", ["parquet", "webdataset"])
def test_exports_give_the_same_batches(data, tmp_path, kind):
    export(data, tmp_path / "out", kind, shard_bytes=2_000_000)
    assert verify(tmp_path / "out").holds
    collate = DuplexCollator(load_tokenizer("builtin:qwen"), listener_text=True)
    own, exported = load(data), load(tmp_path / "out")
    assert [row.row_id for row in exported] == [row.row_id for row in own]
    for before, after in zip(own, exported, strict=True):
        np.testing.assert_array_equal(after.heard, before.heard)
        assert after.listener_words == before.listener_words
        assert after.listener_unlabelled == before.listener_unlabelled
    one, other = collate(list(own)), collate(list(exported))
    for name in ("input_ids", "labels", "listener_labels", "input_features"):
        assert (one[name] == other[name]).all()
    for spoken, found in zip(one["target_audio"], other["target_audio"], strict=True):
        assert (spoken == found).all()


def test_leave_gives_the_pairs_of_earlier_versions(tmp_path):
    summary = build_duplex(group(tmp_path / "c"), tmp_path / "data", settings(others="leave"))
    sides = list(dict.fromkeys((row["listener"], row["speaker"]) for row in rows_of(tmp_path / "data")))
    assert sides == [(a, b) for b in LINES for a in LINES if a != b]
    assert summary.details.report.rows_digest == "04d6f39b283a4fafd5b268490e85a293"  # of the version before `others`
    assert "others" not in (tmp_path / "data" / "settings.json").read_text(), "as earlier versions wrote it"
    assert verify(tmp_path / "data").holds


def test_two_speakers_have_the_same_bytes_with_both_values(tmp_path):
    corpus.demo(tmp_path / "c")
    trees = []
    for value in ("mix", "leave"):
        build_duplex(tmp_path / "c", tmp_path / value, corpus.settings(others=value))
        tree = corpus.tree_bytes(tmp_path / value)
        trees.append({name: content for name, content in tree.items() if name.endswith(".arrow")})
    assert trees[0] == trees[1]
    assert len(trees[0]) > 1


def as_earlier(data):
    """Remove the setting, as data sets of earlier versions do not have it."""
    for name in ("settings.json", "report.json"):
        document = json.loads((data / name).read_text())
        (document if name == "settings.json" else document["made_with"])["duplex"].pop("others", None)
        (data / name).write_text(json.dumps(document, indent=1) + "\n")


def test_an_earlier_data_set_of_two_speakers_is_continued(tmp_path):
    corpus.pair(tmp_path / "c")
    build_duplex(tmp_path / "c", tmp_path / "data", settings())
    before = rows_of(tmp_path / "data")
    as_earlier(tmp_path / "data")
    assert build_duplex(tmp_path / "c", tmp_path / "data", settings()).details.built == 0
    assert rows_of(tmp_path / "data") == before
    assert verify(tmp_path / "data").holds
    for file in (tmp_path / "c").rglob("*.txt"):
        file.touch()  # now only the keys tell that nothing changed
    assert build_duplex(tmp_path / "c", tmp_path / "data", settings(others="leave")).details.built == 0
    group(tmp_path / "c")
    assert build_duplex(tmp_path / "c", tmp_path / "data", settings()).details.built == 1
    assert verify(tmp_path / "data").holds


def test_an_earlier_data_set_of_more_is_continued_with_leave(tmp_path):
    group(tmp_path / "c", "G1 G2 G3")
    build_duplex(tmp_path / "c", tmp_path / "data", settings(others="leave"))
    as_earlier(tmp_path / "data")
    with pytest.raises(OutputError, match=r"duplex\.others 'leave', now 'mix'") as found:
        build_duplex(tmp_path / "c", tmp_path / "data", settings())
    assert found.value.hint.startswith(
        "give --others leave to continue it as it is, another --output, or --force to rebuild it"
    )
    with pytest.raises(OutputError) as found:
        build_duplex(tmp_path / "c", tmp_path / "data", settings(unlabelled_speech="mask"))
    assert "give --unlabelled-speech keep --others leave to continue" in found.value.hint
    with pytest.raises(OutputError) as found:
        build_duplex(tmp_path / "c", tmp_path / "data", settings(lead_chunks=0))
    assert found.value.hint.startswith("give another --output, or --force to rebuild it")
    assert build_duplex(tmp_path / "c", tmp_path / "data", settings(others="leave")).details.built == 0
    assert build_duplex(tmp_path / "c", tmp_path / "data", settings(), force=True).details.built == 1
    assert {row["listener"] for row in rows_of(tmp_path / "data")} == {"G1+G2", "G1+G3", "G2+G3"}


def problems_after(data, tmp_path, change):
    damaged = corpus.copy_of(data, tmp_path / "damaged")
    change(damaged)
    rewrite_report(damaged)
    return verify(damaged).problems


def renamed(listener):
    def change(data):
        rows = rows_of(data)
        for row in rows:
            if row["speaker"] == "G1":
                row["listener"] = listener
                row["row_id"] = f"{row['session_id']}:{listener}>G1:{row['start_chunk']:06d}"
        put_rows(data, rows)

    return change


@pytest.mark.parametrize("listener", ["G2+G3", "G2", "G2+G3+G5"])
def test_verify_finds_a_missing_listener(data, tmp_path, listener):
    found = problems_after(data, tmp_path, renamed(listener))
    assert any(SESSION in problem and f"('{listener}', 'G1')" in problem for problem in found)


def test_verify_finds_a_changed_track_of_the_mix(data, tmp_path):
    silenced = change_audio(lambda samples, rate_hz: samples * 0, track=2)
    found = problems_after(data, tmp_path, silenced)
    assert any(f"{SESSION} G3" in problem for problem in found)


def test_verify_finds_labels_made_against_one_of_the_others(data, tmp_path):
    """A backchannel to G1 would be a turn if only G3 were heard."""

    def change(data):
        rows = rows_of(data)
        for segment in (s for row in rows for s in row["segments"] if s["text"] == "yes"):
            segment.update(kind="turn", overlap=0.0, floor_offset_s=None)
        put_rows(data, rows)

    found = problems_after(data, tmp_path, change)
    assert any("is labelled turn" in problem and "its words give backchannel" in problem for problem in found)


def test_inspect_shows_everyone_that_is_heard(data):
    tokenizer = load_tokenizer("builtin:qwen")
    reader = open_dataset(data)
    row = rows_of(data)[-1]
    view = open_view(reader, tokenizer, row["row_id"])
    assert view.speakers == ("G1", "G2", "G3", "G4")
    assert [(side.listener, side.speaker) for side in view.sides] == [("G1+G2+G3", "G4")]
    session = open_view(reader, tokenizer, SESSION)
    assert [side.speaker for side in session.sides] == ["G1", "G2", "G3", "G4"]
    assert sorted(segment.text for segment in session.segments) == sorted(t for own in LINES.values() for *_, t in own)
    assert len(session.overlaps) == 2


def test_command(tmp_path):
    group(tmp_path / "c", "G1 G2 G3")
    words = ["build-duplex", str(tmp_path / "c"), "--output", str(tmp_path / "data"), "--others", "leave"]
    assert CliRunner().invoke(app, words).exit_code == 0
    assert {row["listener"] for row in rows_of(tmp_path / "data")} == {"G1", "G2", "G3"}
