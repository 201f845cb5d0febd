"""`sca export`: every format is read back by its own library and gives the same sound and words."""

import gc
import io
import json
import shutil
import subprocess
import sys
import tarfile
from itertools import permutations
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from sca.cli.export import parse_size
from sca.data.duplex.build.dataset import build_duplex
from sca.data.duplex.load.dataset import load
from sca.data.duplex.storage.tracks import stored_tracks
from sca.data.duplex.storage.writer import open_split
from sca.data.duplex.verify.dataset import verify
from sca.data.export.base import file_name
from sca.data.export.run import FORMATS, export
from sca.errors import InputError, OutputError, UsageError, VerificationError
from tests.helpers import corpus

SMALL = 1_000_000  # so that even these few minutes make several shards


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("export")
    source = corpus.demo(root / "corpus")
    # Three who are in no other session, so that there is a split for validation too.
    lines = {"G0071": [(1.0, 3.0, "hello there my friend"), (8.0, 10.5, "no, not at all")]}
    lines |= {"G0072": [(4.0, 7.0, "are you in a hurry today")], "G0073": [(13.0, 14.0, "a third voice")]}
    for speaker, said in lines.items():
        corpus.write_track(source, f"A0009_S0009_0_{speaker}", said, 40.0)
    build_duplex(source, root / "data", corpus.settings(validation=0.3))
    return root / "data"


@pytest.fixture(scope="module")
def exports(data, tmp_path_factory):
    """Every format, once."""
    root = tmp_path_factory.mktemp("exports")
    return {kind: export(data, root / kind, kind, shard_bytes=SMALL) for kind in FORMATS}


def tracks_of(data):
    return [track for file in open_split(data, "storage") for track in stored_tracks(file)]


def spoken(track):
    return soundfile.read(io.BytesIO(bytes(track.spoken)), dtype="int16")[0]


def made_files(root: Path) -> dict[str, bytes]:
    return {name: content for name, content in corpus.tree_bytes(root).items() if not name.startswith(".sca")}


@pytest.mark.parametrize("kind", FORMATS)
def test_there_are_several_shards_and_the_record_names_every_file(exports, kind):
    done = exports[kind]
    record = json.loads((done.root / "export.json").read_text())
    assert done.shards == done.made == len(record["shards"]) > 1
    for shard in record["shards"]:
        for file in shard["files"]:
            assert (done.root / file["name"]).stat().st_size == file["bytes"]


def test_parquet_is_the_same_tables(data, exports, tmp_path):
    root = exports["parquet"].root
    both = datasets.load_from_disk(str(data))
    assert set(both) == {"storage", "train", "validation"}
    for split in both:
        found = datasets.load_dataset(
            "parquet", data_files=f"{root}/{split}/*.parquet", split="train", cache_dir=str(tmp_path)
        )
        columns = dict(both[split].features)
        if split == "storage":  # a fixed length of a list with nulls is what pyarrow before 26 cannot read
            columns["speaker_embedding"] = datasets.List(datasets.Value("float32"))
        assert found.features == columns
        assert found.to_list() == both[split].to_list()


def test_parquet_names_no_length_of_a_list_that_may_be_null(exports):
    """Older readers take it at its word, and stop at the null."""
    for file in exports["parquet"].root.glob("storage/*.parquet"):
        column = pq.read_table(file, columns=["speaker_embedding"]).column(0)
        assert column.type == pa.list_(pa.field("element", pa.float32()))
        assert column.null_count > 0


@pytest.mark.parametrize("which", ["data", "parquet"])
def test_load_dataset_opens_the_folder_by_its_card(data, exports, tmp_path, which):
    root = data if which == "data" else exports["parquet"].root
    both = datasets.load_from_disk(str(data))
    rows = datasets.load_dataset(str(root), cache_dir=str(tmp_path))
    assert rows["train"].to_list() == both["train"].to_list()
    assert rows["train"].features == both["train"].features
    storage = datasets.load_dataset(str(root), "storage", cache_dir=str(tmp_path))
    assert storage["storage"][0]["audio_24k"] == both["storage"][0]["audio_24k"]
    streamed = datasets.load_dataset(str(root), streaming=True)["train"]
    assert next(iter(streamed))["row_id"] == both["train"][0]["row_id"]


# webdataset leaves the tar files it read to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("split", ["train", "validation"])
def test_webdataset_gives_every_row_with_its_sound(data, exports, split):
    import webdataset

    root, rows = exports["webdataset"].root, load(data, split)
    shards = sorted(str(path) for path in root.glob(f"{split}-*.tar"))
    samples = list(webdataset.WebDataset(shards, shardshuffle=False).decode())
    gc.collect()
    assert len(samples) == len(rows)
    for index, sample in enumerate(samples):
        row, stored = rows[index], rows.record(index)
        assert sample["json"]["row_id"] == row.row_id
        assert sample["json"]["segments"] == stored["segments"]
        assert np.array_equal(sample["input_ids.npy"], row.input_ids)
        for name, chunks, rate_hz in (("heard.flac", row.heard, 16_000), ("spoken.flac", row.spoken, 24_000)):
            sound, found_hz = soundfile.read(io.BytesIO(sample[name]), dtype="float32")
            assert found_hz == rate_hz
            assert np.array_equal(sound, chunks.ravel())


def test_moshi_has_stereo_sound_and_words_a_side(data, exports):
    root = exports["moshi"].root
    lines = [json.loads(line) for line in (root / "data.jsonl").read_text().splitlines()]
    tracks = {(t.record["session_id"], t.record["speaker_id"]): t for t in tracks_of(data)}
    wanted = {(s, a, b) for s, a in tracks for z, b in tracks if s == z and a != b}
    assert len(lines) == len(wanted)
    by_name = {Path(line["path"]).stem: line for line in lines}
    for session, left, right in wanted:
        line = by_name[file_name(session, left, right)]
        assert set(line) == {"path", "duration"}
        sound, rate_hz = soundfile.read(root / line["path"], dtype="int16")
        assert rate_hz == 24_000
        assert line["duration"] == len(sound) / rate_hz
        assert np.array_equal(sound[:, 0], spoken(tracks[session, left]))
        assert np.array_equal(sound[:, 1], spoken(tracks[session, right]))
        words = json.loads((root / line["path"]).with_suffix(".json").read_text())["alignments"]
        assert words == sorted(words, key=lambda one: one[1][0])
        for label, who in (("SPEAKER_MAIN", left), ("SPEAKER_OTHER", right)):
            said = [[w["word"], [w["start"], w["end"]], label] for w in tracks[session, who].record["words"]]
            assert [one for one in words if one[2] == label] == said


def test_the_reader_of_moshi_finetune_gives_the_same_sound(exports):
    import sphn

    root = exports["moshi"].root
    pieces = sphn.dataset_jsonl(
        str(root / "data.jsonl"), duration_sec=10.0, sample_rate=24_000, pad_last_segment=True
    ).seq()
    read = {}
    for piece in pieces:
        wanted, _ = soundfile.read(piece["path"], dtype="float32", always_2d=True)
        first, n = round(piece["start_time_sec"] * 24_000), piece["unpadded_len"]
        assert np.array_equal(np.asarray(piece["data"])[:, :n], wanted[first : first + n].T)
        read[Path(piece["path"]).name] = read.get(Path(piece["path"]).name, 0) + n / 24_000
    lines = [json.loads(line) for line in (root / "data.jsonl").read_text().splitlines()]
    assert read == {Path(line["path"]).name: pytest.approx(line["duration"], abs=0.01) for line in lines}


def test_lhotse_opens_the_cuts_with_sound_and_aligned_words(data, exports):
    import lhotse

    root = exports["lhotse"].root
    cuts = list(lhotse.CutSet.from_file(root / "cuts.jsonl.gz").with_recording_path_prefix(str(root)))
    by_session = {}
    for track in tracks_of(data):
        by_session.setdefault(track.record["session_id"], []).append(track)
    assert [cut.id for cut in cuts] == list(by_session)
    for cut in cuts:
        lhotse.validate(cut)
        tracks = by_session[cut.id]
        sound = cut.load_audio()
        assert sound.shape[0] == len(tracks)
        for channel, track in enumerate(tracks):
            assert np.array_equal(sound[channel], spoken(track).astype(np.float32) / 32768)
            mine = [s for s in cut.supervisions if s.speaker == track.record["speaker_id"]]
            assert {s.channel for s in mine} == {channel}
            found = [(w.symbol, w.start, w.end) for s in mine for w in s.alignment["word"]]
            said = [(w["word"], w["start"], pytest.approx(w["end"], abs=1e-8)) for w in track.record["words"]]
            assert found == said
            assert " ".join(s.text for s in mine).split() == [w["word"] for w in track.record["words"]]


@pytest.mark.parametrize("kind", ["parquet", "webdataset"])
def test_what_keeps_the_grid_can_be_verified_and_a_changed_byte_is_found(exports, tmp_path, kind):
    outcome = verify(exports[kind].root)
    assert outcome.problems == []
    assert int(next(c.found for c in outcome.checks if "structural" in c.name).split("(")[1].split()[0]) == 8
    broken = tmp_path / "broken"
    shutil.copytree(exports[kind].root, broken)
    (victim, *_) = sorted((*broken.glob("train/*.parquet"), *broken.glob("train-*.tar")))
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    try:
        problems = verify(broken).problems
    except InputError as error:
        problems = [error.message]
    assert any(victim.name in problem for problem in problems)


def test_a_row_put_right_again_in_a_tar_is_still_found_wrong(exports, tmp_path):
    """The check of the rows themselves, apart from the digests of files: a sample whose sound is cut short."""
    root = tmp_path / "short"
    shutil.copytree(exports["webdataset"].root, root)
    shard = root / "train-000000.tar"
    with tarfile.open(shard) as tar:
        members = [(m, tar.extractfile(m).read()) for m in tar]
    with tarfile.open(shard, "w") as tar:
        for member, content in members:
            if member.name == "000000000.heard.flac":
                sound, rate_hz = soundfile.read(io.BytesIO(content), dtype="int16")
                out = io.BytesIO()
                soundfile.write(out, sound[:-1], rate_hz, "PCM_16", format="FLAC")
                content = out.getvalue()
            info = tarfile.TarInfo(member.name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    assert any("heard.flac has" in problem for problem in verify(root).problems)


def test_an_export_without_the_grid_says_so(exports):
    with pytest.raises(InputError, match="without the grid"):
        verify(exports["moshi"].root)


@pytest.mark.parametrize("kind", FORMATS)
def test_interrupted_and_resumed_the_bytes_are_the_same(data, exports, tmp_path, kind):
    def stop(name, seconds):
        raise KeyboardInterrupt

    root = tmp_path / "again"
    with pytest.raises(KeyboardInterrupt):
        export(data, root, kind, shard_bytes=SMALL, on_shard=stop)
    assert not (root / "export.json").exists(), "an unfinished export has no record"
    (root / ".left.tmp").write_bytes(b"half a file of a killed run")
    resumed = export(data, root, kind, shard_bytes=SMALL, jobs=2 if kind == "parquet" else 1)
    assert resumed.made == resumed.shards - 1
    assert made_files(root) == made_files(exports[kind].root)
    assert export(data, root, kind, shard_bytes=SMALL).made == 0


def test_a_shard_that_was_lost_is_made_again(data, exports, tmp_path):
    root = tmp_path / "lost"
    shutil.copytree(exports["webdataset"].root, root)
    (root / "train-000000.tar").unlink()
    assert export(data, root, "webdataset", shard_bytes=SMALL).made == 1
    assert made_files(root) == made_files(exports["webdataset"].root)


def test_another_export_is_refused_and_force_writes_over_it(data, exports, tmp_path):
    root = tmp_path / "other"
    shutil.copytree(exports["moshi"].root, root)
    (root / "mine.txt").write_text("not made by sca")
    with pytest.raises(OutputError, match="in the format moshi"):
        export(data, root, "lhotse", shard_bytes=SMALL)
    with pytest.raises(OutputError, match="another shard_bytes"):
        export(data, root, "moshi", shard_bytes=2 * SMALL)
    export(data, root, "lhotse", shard_bytes=SMALL, force=True)
    left = made_files(root)
    assert left.pop("mine.txt") == b"not made by sca"
    assert left == made_files(exports["lhotse"].root)


def test_an_export_of_another_data_set_is_refused(data, exports, tmp_path):
    build_duplex(corpus.demo(tmp_path / "corpus"), tmp_path / "data", corpus.settings())
    with pytest.raises(OutputError, match="of another data set"):
        export(tmp_path / "data", exports["parquet"].root, "parquet", shard_bytes=SMALL)


def test_other_files_the_data_set_itself_and_exports_are_no_places_to_export_to(data, exports, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="other files"):
        export(data, tmp_path, "parquet", shard_bytes=SMALL)
    for inside in (data, data / "train", data.parent):
        with pytest.raises(OutputError, match="in each other"):
            export(data, inside, "parquet", shard_bytes=SMALL)
    with pytest.raises(InputError, match="an export already"):
        export(exports["parquet"].root, tmp_path / "out", "lhotse", shard_bytes=SMALL)
    with pytest.raises(UsageError, match="no format csv"):
        export(data, tmp_path / "out", "csv", shard_bytes=SMALL)


def break_nothing_there(data):
    shutil.rmtree(data)
    data.mkdir()


def break_version(data):
    path = data / "settings.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 0}))


def break_unfinished(data):
    (data / "dataset_dict.json").unlink()


def break_report(data):
    (data / "report.json").write_text("{")


def break_sound(data):
    victim = next((data / "storage").glob("*.arrow"))
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 255
    victim.write_bytes(content)


def break_rows(data):
    victim = next((data / "validation").glob("*.arrow"))
    content = victim.read_bytes()
    assert b"hurry" in content
    victim.write_bytes(content.replace(b"hurry", b"worry"))


@pytest.mark.parametrize(
    ("breaking", "says"),
    [
        (break_nothing_there, "not a duplex data set"),
        (break_version, "schema version 0"),
        (break_unfinished, "not a finished data set"),
        (break_report, "cannot be read"),
        (break_sound, "storage_digest"),
        (break_rows, "rows_digest"),
    ],
)
def test_what_is_no_sound_data_set_is_not_exported(data, tmp_path, breaking, says):
    shutil.copytree(data, tmp_path / "data")
    breaking(tmp_path / "data")
    with pytest.raises(InputError, match=says) as error:
        export(tmp_path / "data", tmp_path / "out", "parquet", shard_bytes=SMALL)
    assert isinstance(error.value, VerificationError) == ("digest" in says)
    assert not list((tmp_path / "out").glob("**/*.parquet"))


def sca(*words, **options):
    return subprocess.run([sys.executable, "-m", "sca", *map(str, words)], capture_output=True, text=True, **options)


def test_the_command_prints_one_document_and_a_disk_without_room_is_one_line(data, tmp_path):
    import resource

    words = ["export", data, "--to", "moshi", "-o", tmp_path / "out", "--shard-size", "8MB", "--json"]

    def little_room():  # a limit on file size stands in for the disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))

    full = sca(*words, preexec_fn=little_room)
    assert full.returncode == 5, full.stderr
    assert full.stderr.startswith("sca: ")
    assert "is larger than its file system" in full.stderr
    assert "Traceback" not in full.stderr
    assert not list((tmp_path / "out").rglob("*.tmp"))
    done = sca(*words)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["items"] == 8
    assert document["format"] == "moshi"


def test_sizes_are_read_as_they_are_written():
    assert [parse_size(s) for s in ("200MB", "1.5GiB", "10k", "7")] == [200_000_000, 3 << 29, 10_000, 7]
    for wrong in ("", "0", "-5MB", "big", "1TB", "0.1"):
        with pytest.raises(UsageError, match="--shard-size"):
            parse_size(wrong)


def timed(record):
    return [(word["word"], word["start"], word["end"]) for word in record["words"]]


def imported(root, target):
    """An export as a data set again."""
    summary = build_duplex(root, target, corpus.settings())
    assert (summary.failed, summary.dropped, summary.skipped) == ([], [], [])
    return {(t.record["session_id"], t.record["speaker_id"]): t for t in tracks_of(target)}


def test_lhotse_comes_back_as_it_went(data, exports, tmp_path):
    back = imported(exports["lhotse"].root, tmp_path / "back")
    assert len(back) == len(tracks_of(data))
    assert not verify(tmp_path / "back").problems
    for track in tracks_of(data):
        found = back[track.record["session_id"], track.record["speaker_id"]]
        np.testing.assert_array_equal(spoken(found), spoken(track))
        assert timed(found.record) == timed(track.record)


def test_moshi_comes_back_as_it_went(data, exports, tmp_path):
    """Every pair is a conversation of its own, of people without names."""
    back = imported(exports["moshi"].root, tmp_path / "back")
    names = {session_id for session_id, _ in back}
    sides = 0
    for file in open_split(data, "storage"):
        for pair in permutations(stored_tracks(file), 2):
            tail = file_name(pair[0].record["session_id"], *(track.record["speaker_id"] for track in pair))
            (name,) = [one for one in names if one.endswith(tail)]
            for track, side in zip(pair, ("main", "other"), strict=True):
                found = back[name, f"{name}.{side}"]
                np.testing.assert_array_equal(spoken(found), spoken(track))
                assert timed(found.record) == timed(track.record)
                sides += 1
    assert sides == len(back)
