"""`sca export`: the library of each format reads the export back, with the same audio and words."""

import gc
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import yaml

from sca.data.duplex.build.dataset import build_duplex
from sca.data.duplex.load.dataset import load
from sca.data.duplex.storage.tracks import stored_tracks
from sca.data.duplex.storage.writer import open_split
from sca.data.duplex.verify.dataset import verify
from sca.data.export import run as export_run
from sca.data.export.base import join_file_name
from sca.data.export.moshi_args import moshi_args
from sca.data.export.parquet import ParquetExporter
from sca.data.export.registry import BUILT_IN_FORMATS, exporter_names, load_exporter
from sca.data.export.run import export
from sca.data.runs.executor import WorkerDiedError
from sca.data.runs.progress import NullProgress
from sca.errors import InputError, MissingToolError, OutputError, UsageError, VerificationError
from tests.helpers import command, corpus
from tests.helpers.broken import REASON, break_for

SMALL = 1_000_000  # even these few minutes of audio are several shards


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("export")
    source = corpus.demo(root / "corpus")
    # Three speakers of no other session, so that there is a split for validation too.
    lines = {"G0071": [(1.0, 3.0, "hello there my friend"), (8.0, 10.5, "no, not at all")]}
    lines |= {"G0072": [(4.0, 7.0, "are you in a hurry today")], "G0073": [(13.0, 14.0, "a third voice")]}
    for speaker, utterances in lines.items():
        corpus.write_track(source, f"A0009_S0009_0_{speaker}", utterances, 40.0)
    build_duplex(source, root / "data", corpus.settings(validation=0.3))
    return root / "data"


@pytest.fixture(scope="module")
def exports(data, tmp_path_factory):
    """Export the data set once in every format."""
    root = tmp_path_factory.mktemp("exports")
    return {kind: export(data, root / kind, kind, shard_bytes=SMALL) for kind in BUILT_IN_FORMATS}


def tracks_of(data):
    return [track for file in open_split(data, "storage") for track in stored_tracks(file)]


def spoken(track):
    return soundfile.read(io.BytesIO(bytes(track.spoken)), dtype="int16")[0]


def moshi_sides(data):
    """Yield the name of the file of each side, the speaker's track, and the tracks of all others."""
    for file in open_split(data, "storage"):
        tracks = stored_tracks(file)
        for track in tracks:
            others = [other for other in tracks if other is not track]
            named = [track, *others] if len(others) == 1 else [track]
            names = [one.record["speaker_id"] for one in named]
            yield join_file_name(track.record["session_id"], *names), track, others


def mixed(tracks):
    total = np.sum([spoken(track).astype(np.int64) for track in tracks], axis=0)
    return np.clip(total, -32768, 32767).astype(np.int16)


def exported_files(root: Path) -> dict[str, bytes]:
    return {name: content for name, content in corpus.tree_bytes(root).items() if not name.startswith(".sca")}


def test_same_relative_path_elsewhere_is_another_data_set(data, tmp_path, monkeypatch):
    corpus.short_demo(tmp_path / "corpus")
    build_duplex(tmp_path / "corpus", tmp_path / "data", corpus.settings(validation=0.0))
    for folder in (data.parent, tmp_path):
        monkeypatch.chdir(folder)
        export(Path("data"), folder / "relative", "parquet", shard_bytes=SMALL)
        assert not verify(folder / "relative").problems
    # And so is one that takes its place.
    shutil.rmtree("data")
    shutil.copytree(data, "data")
    export(Path("data"), tmp_path / "replaced", "parquet", shard_bytes=SMALL)
    assert exported_files(tmp_path / "replaced") == exported_files(data.parent / "relative")


@pytest.mark.parametrize("kind", BUILT_IN_FORMATS)
def test_record_lists_every_file_of_several_shards(exports, kind):
    summary, root = exports[kind], exports[kind].details.root
    record = json.loads((root / "export.json").read_text())
    assert summary.details.shards == summary.made == len(record["shards"]) > 1
    for shard in record["shards"]:
        for file in shard["files"]:
            assert (root / file["name"]).stat().st_size == file["bytes"]


def test_parquet_has_the_same_tables(data, exports, tmp_path):
    root = exports["parquet"].details.root
    both = datasets.load_from_disk(str(data))
    assert set(both) == {"storage", "train", "validation"}
    for split in both:
        found = datasets.load_dataset(
            "parquet", data_files=f"{root}/{split}/*.parquet", split="train", cache_dir=str(tmp_path)
        )
        columns = dict(both[split].features)
        if split == "storage":  # pyarrow before 26 cannot read nulls in a fixed-size list
            columns["speaker_embedding"] = datasets.List(datasets.Value("float32"))
        assert found.features == columns
        assert found.to_list() == both[split].to_list()


def test_parquet_lists_with_nulls_have_no_fixed_size(exports):
    """pyarrow before 26 cannot read nulls in a fixed-size list."""
    for file in exports["parquet"].details.root.glob("storage/*.parquet"):
        column = pq.read_table(file, columns=["speaker_embedding"]).column(0)
        assert column.type == pa.list_(pa.field("element", pa.float32()))
        assert column.null_count > 0


@pytest.mark.parametrize("which", ["data", "parquet"])
def test_load_dataset_reads_the_card(data, exports, tmp_path, which):
    root = data if which == "data" else exports["parquet"].details.root
    both = datasets.load_from_disk(str(data))
    rows = datasets.load_dataset(str(root), cache_dir=str(tmp_path))
    assert rows["train"].to_list() == both["train"].to_list()
    assert rows["train"].features == both["train"].features
    storage = datasets.load_dataset(str(root), "storage", cache_dir=str(tmp_path))
    assert storage["storage"][0]["audio_24k"] == both["storage"][0]["audio_24k"]
    streamed = datasets.load_dataset(str(root), streaming=True)["train"]
    assert next(iter(streamed))["row_id"] == both["train"][0]["row_id"]


# webdataset does not close the tar files it read.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("split", ["train", "validation"])
def test_webdataset_reads_every_row_with_its_audio(data, exports, split):
    import webdataset

    root, rows = exports["webdataset"].details.root, load(data, split)
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


def test_moshi_has_stereo_audio_and_words_of_each_side(data, exports):
    root = exports["moshi"].details.root
    lines = [json.loads(line) for line in (root / "data.jsonl").read_text().splitlines()]
    wanted = list(moshi_sides(data))
    assert len(lines) == len(wanted)
    by_name = {Path(line["path"]).stem: line for line in lines}
    for name, left, right in wanted:
        line = by_name[name]
        assert set(line) == {"path", "duration"}
        sound, rate_hz = soundfile.read(root / line["path"], dtype="int16")
        assert rate_hz == 24_000
        assert line["duration"] == len(sound) / rate_hz
        assert np.array_equal(sound[:, 0], spoken(left))
        assert np.array_equal(sound[:, 1], mixed(right))
        words = json.loads((root / line["path"]).with_suffix(".json").read_text())["alignments"]
        assert words == sorted(words, key=lambda word: word[1][0])
        for label, tracks in (("SPEAKER_MAIN", [left]), ("SPEAKER_OTHER", right)):
            expected = [[w["word"], [w["start"], w["end"]], label] for t in tracks for w in t.record["words"]]
            assert [word for word in words if word[2] == label] == sorted(expected, key=lambda word: word[1][0])


def test_reader_of_moshi_finetune_reads_the_same_audio(exports):
    import sphn

    root = exports["moshi"].details.root
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


def test_moshi_arguments_fit_the_splits(exports):
    """A batch has no more pieces than a split, because train.py drops incomplete batches."""
    root = exports["moshi"].details.root
    args = yaml.safe_load((root / "train.yaml").read_text())
    lists = {name: (root / f"{name}.jsonl").read_text().splitlines() for name in ("train", "validation", "data")}
    assert sorted(lists["train"] + lists["validation"]) == sorted(lists["data"])
    assert args["data"] == {"train_data": "train.jsonl", "eval_data": "validation.jsonl", "shuffle": True}
    assert args["do_eval"] is True
    longest = max(json.loads(line)["duration"] for line in lists["data"])
    assert longest <= args["duration_sec"] <= 100
    assert args["batch_size"] == min(len(lists["train"]), len(lists["validation"]))
    assert args["optim"]["lr"] == 2e-6


def test_moshi_arguments_without_validation():
    args = yaml.safe_load(moshi_args("train.yaml", "data.jsonl", [30.0, 250.5, 3600.0]))
    assert (args["data"]["train_data"], args["data"]["eval_data"], args["do_eval"]) == ("data.jsonl", "", False)
    assert (args["duration_sec"], args["batch_size"], args["max_steps"]) == (100, 16, 25)  # 40 pieces, 10 passes


def test_datasets_reads_chats_with_the_heard_audio(data, exports, tmp_path):
    root = exports["chat"].details.root
    for split in ("train", "validation"):
        rows = load(data, split)
        chats = datasets.load_dataset(
            "json", data_files=str(root / f"{split}.jsonl"), split="train", cache_dir=str(tmp_path)
        )
        by_row = {int(Path(chat["audios"][0]).name[:9]): chat for chat in chats}
        assert by_row
        for index, chat in by_row.items():
            system, *turns = chat["messages"]
            assert system["role"] == "system"
            assert [turn["role"] for turn in turns] == ["user", "assistant"] * len(chat["audios"])
            assert [turn["content"] for turn in turns[::2]] == ["<audio>"] * len(chat["audios"])
            heard = rows[index].heard.ravel()
            for name in chat["audios"]:
                sound, rate_hz = soundfile.read(root / name, dtype="float32")
                assert rate_hz == 16_000
                assert any(np.array_equal(heard[at : at + len(sound)], sound) for at in starts(heard, sound))
            said = "".join(turn["content"] for turn in turns[1::2]).replace(" ", "")
            segments = sorted(rows.record(index)["segments"], key=lambda segment: segment["start_s"])
            turns_of_row = "".join(s["text"] for s in segments if s["kind"] != "backchannel").replace(" ", "")
            assert turns_of_row.endswith(said)
    info = json.loads((root / "dataset_info.json").read_text())
    assert {name: entry["file_name"] for name, entry in info.items()} == {
        "sca_train": "train.jsonl",
        "sca_validation": "validation.jsonl",
    }


def starts(heard, sound):
    """Return where a clip may start: all places with its loudest sample."""
    peak = int(np.argmax(np.abs(sound)))
    return np.flatnonzero(heard == sound[peak]) - peak


def test_lhotse_reads_cuts_with_audio_and_aligned_words(data, exports):
    import lhotse

    root = exports["lhotse"].details.root
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
            expected = [(w["word"], w["start"], pytest.approx(w["end"], abs=1e-8)) for w in track.record["words"]]
            assert found == expected
            assert " ".join(s.text for s in mine).split() == [w["word"] for w in track.record["words"]]


@pytest.mark.parametrize("kind", ["parquet", "webdataset"])
def test_verify_finds_a_changed_byte(exports, tmp_path, kind):
    outcome = verify(exports[kind].details.root)
    assert outcome.problems == []
    assert int(next(c.found for c in outcome.checks if "structural" in c.name).split("(")[1].split()[0]) == 5
    broken = tmp_path / "broken"
    shutil.copytree(exports[kind].details.root, broken)
    (victim, *_) = sorted((*broken.glob("train/*.parquet"), *broken.glob("train-*.tar")))
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    try:
        problems = verify(broken).problems
    except InputError as error:
        problems = [error.message]
    assert any(victim.name in problem for problem in problems)


def test_verify_finds_shortened_audio_in_a_tar(exports, tmp_path):
    """The check of the rows themselves, apart from the digests of files: the audio of one sample is shortened."""
    root = tmp_path / "short"
    shutil.copytree(exports["webdataset"].details.root, root)
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


def test_export_without_the_grid_cannot_be_verified(exports):
    with pytest.raises(InputError, match="without the grid"):
        verify(exports["moshi"].details.root)


@pytest.mark.parametrize("kind", BUILT_IN_FORMATS)
def test_resumes_after_interrupt_with_the_same_bytes(data, exports, tmp_path, kind):
    class Interrupt(NullProgress):
        def on_item_end(self, outcome):
            raise KeyboardInterrupt

    root = tmp_path / "again"
    with pytest.raises(KeyboardInterrupt):
        export(data, root, kind, shard_bytes=SMALL, listener=Interrupt())
    assert not (root / "export.json").exists(), "an unfinished export has no record"
    (root / ".left.tmp").write_bytes(b"half a file of a killed run")
    resumed = export(data, root, kind, shard_bytes=SMALL, jobs=2 if kind == "parquet" else 1)
    assert resumed.made == resumed.details.shards - 1
    assert exported_files(root) == exported_files(exports[kind].details.root)
    assert export(data, root, kind, shard_bytes=SMALL).made == 0


class FirstWorkerDies:
    """An executor that reports the death of the worker of the first item, and does the others in this process."""

    def run(self, jobs, work):
        for n, item in enumerate(jobs):
            yield item, work(item) if n else WorkerDiedError("the worker died twice")


def test_dead_worker_leaves_the_export_unfinished(data, exports, tmp_path):
    root = tmp_path / "dead"
    summary = export(data, root, "moshi", shard_bytes=SMALL, executor=FirstWorkerDies())
    assert [reason for _, reason in summary.failed] == ["the worker died twice"]
    assert summary.made == summary.details.shards == exports["moshi"].details.shards - 1
    assert not (root / "export.json").exists()
    skipped = export(data, root, "moshi", shard_bytes=SMALL, retry_failed=False)
    assert (skipped.made, skipped.failed, skipped.old_failures) == (0, summary.failed, 1)
    done = command.sca("export", data, "--to", "moshi", "-o", root, "--shard-size", SMALL, "--no-retry-failed")
    assert done.returncode == 7
    assert "so the export is unfinished; audio/00000: the worker died twice" in done.stderr
    assert export(data, root, "moshi", shard_bytes=SMALL).made == 1
    assert exported_files(root) == exported_files(exports["moshi"].details.root)


def test_unexpected_exception_fails_its_shard_only(data, exports, tmp_path, monkeypatch):
    root = tmp_path / "odd"
    break_for(monkeypatch, export_run, "write_result", "audio/00000")
    summary = export(data, root, "moshi", shard_bytes=SMALL)
    assert summary.failed == [("audio/00000", REASON)]
    assert summary.made == exports["moshi"].details.shards - 1
    monkeypatch.undo()
    assert export(data, root, "moshi", shard_bytes=SMALL).made == 1
    assert exported_files(root) == exported_files(exports["moshi"].details.root)


def test_lost_shard_is_written_again(data, exports, tmp_path):
    root = tmp_path / "lost"
    shutil.copytree(exports["webdataset"].details.root, root)
    (root / "train-000000.tar").unlink()
    assert export(data, root, "webdataset", shard_bytes=SMALL).made == 1
    assert exported_files(root) == exported_files(exports["webdataset"].details.root)


def test_another_export_is_overwritten_only_with_force(data, exports, tmp_path):
    root = tmp_path / "other"
    shutil.copytree(exports["moshi"].details.root, root)
    (root / "mine.txt").write_text("not written by sca")
    with pytest.raises(OutputError, match="in the format moshi"):
        export(data, root, "lhotse", shard_bytes=SMALL)
    with pytest.raises(OutputError, match="another shard_bytes"):
        export(data, root, "moshi", shard_bytes=2 * SMALL)
    export(data, root, "lhotse", shard_bytes=SMALL, force=True)
    left = exported_files(root)
    assert left.pop("mine.txt") == b"not written by sca"
    assert left == exported_files(exports["lhotse"].details.root)


def test_rejects_an_export_of_another_data_set(data, exports, tmp_path):
    build_duplex(corpus.demo(tmp_path / "corpus"), tmp_path / "data", corpus.settings())
    with pytest.raises(OutputError, match="of another data set"):
        export(tmp_path / "data", exports["parquet"].details.root, "parquet", shard_bytes=SMALL)


def test_rejects_unsuitable_folders_and_formats(data, exports, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="other files"):
        export(data, tmp_path, "parquet", shard_bytes=SMALL)
    for inside in (data, data / "train", data.parent):
        with pytest.raises(OutputError, match="contains the other"):
            export(data, inside, "parquet", shard_bytes=SMALL)
    with pytest.raises(InputError, match="already an export"):
        export(exports["parquet"].details.root, tmp_path / "out", "lhotse", shard_bytes=SMALL)
    with pytest.raises(UsageError, match="csv is not an export format"):
        export(data, tmp_path / "out", "csv", shard_bytes=SMALL)


def remove_everything(data):
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
    ("damage", "message"),
    [
        (remove_everything, "not a duplex data set"),
        (break_version, "schema version 0"),
        (break_unfinished, "not a finished data set"),
        (break_report, "cannot be read"),
        (break_sound, "storage_digest"),
        (break_rows, "rows_digest"),
    ],
)
def test_rejects_damaged_data_sets(data, tmp_path, damage, message):
    shutil.copytree(data, tmp_path / "data")
    damage(tmp_path / "data")
    with pytest.raises(InputError, match=message) as error:
        export(tmp_path / "data", tmp_path / "out", "parquet", shard_bytes=SMALL)
    assert isinstance(error.value, VerificationError) == ("digest" in message)
    assert not list((tmp_path / "out").glob("**/*.parquet"))


def sca(*words, **options):
    return subprocess.run([sys.executable, "-m", "sca", *map(str, words)], capture_output=True, text=True, **options)


def test_command_reports_a_full_disk_and_then_succeeds(data, tmp_path):
    import resource

    words = ["export", data, "--to", "moshi", "-o", tmp_path / "out", "--shard-size", "8MB", "--json"]

    def limit_file_size():  # simulates a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))

    full = sca(*words, preexec_fn=limit_file_size)
    assert full.returncode == 5, full.stderr
    assert full.stderr.startswith("sca: ")
    assert "is larger than its file system" in full.stderr
    assert "Traceback" not in full.stderr
    assert not list((tmp_path / "out").rglob("*.tmp"))
    done = command.sca(*words)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["items"] == 5
    assert document["format"] == "moshi"


def timed(record):
    return [(word["word"], word["start"], word["end"]) for word in record["words"]]


def imported(root, target):
    """Build a data set from an export and return its tracks."""
    summary = build_duplex(root, target, corpus.settings())
    assert (summary.failed, summary.dropped, summary.details.skipped) == ([], [], [])
    return {(t.record["session_id"], t.record["speaker_id"]): t for t in tracks_of(target)}


def test_lhotse_round_trip(data, exports, tmp_path):
    back = imported(exports["lhotse"].details.root, tmp_path / "back")
    assert len(back) == len(tracks_of(data))
    assert not verify(tmp_path / "back").problems
    for track in tracks_of(data):
        found = back[track.record["session_id"], track.record["speaker_id"]]
        np.testing.assert_array_equal(spoken(found), spoken(track))
        assert timed(found.record) == timed(track.record)


def test_moshi_round_trip(data, exports, tmp_path):
    """Every side becomes a conversation of its own, with speakers without names."""
    back = imported(exports["moshi"].details.root, tmp_path / "back")
    names = {session_id for session_id, _ in back}
    sides = 0
    for tail, speaker, others in moshi_sides(data):
        (name,) = [other for other in names if other.endswith(tail)]
        for tracks, side in (([speaker], "main"), (others, "other")):
            found = back[name, f"{name}.{side}"]
            np.testing.assert_array_equal(spoken(found), mixed(tracks))
            heard = [word for track in tracks for word in timed(track.record)]
            assert timed(found.record) == sorted(heard, key=lambda word: word[1])
            sides += 1
    assert sides == len(back)


# --- plugins ---

PLUGIN = """
import os
import signal

from sca.data.export.base import Exporter, Shard, join_file_name, shard_result
from sca.data.runs.files import atomic_write


INVALID = "not an exporter"


class WordListExporter(Exporter):
    \"\"\"Writes one text file of words per session.\"\"\"

    index_files = ("words.txt",)

    def plan(self, dataset, shard_bytes):
        return [Shard(f"words/{join_file_name(name)}", "storage", (name,)) for name in dataset.sessions]

    def write_shard(self, dataset, root, shard):
        path = root / f"{shard.name}.txt"
        tracks = [track for name in shard.sessions for track in dataset.tracks(name)]
        words = [word["word"] for track in tracks for word in track.record["words"]]
        with atomic_write(path) as temporary:
            temporary.write_text(" ".join(words))
        lines = [{"session": shard.sessions[0], "words": len(words)}]
        return shard_result(root, shard, items=len(words), audio_s=0.0, paths=[path], lines=lines)

    def finish(self, dataset, root, results):
        total = sum(line["words"] for result in results for line in result.lines)
        (root / "words.txt").write_text(str(total))
        return ()

    def usage(self, splits):
        return "Read the files in `words`."


class DyingExporter(WordListExporter):
    def write_shard(self, dataset, root, shard):
        if shard.sessions[0] == min(dataset.sessions):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().write_shard(dataset, root, shard)
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Install a package with two valid formats, two invalid ones, and one with the name of a built-in format."""
    site = tmp_path / "site"
    info = site / "word_list-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "word_list.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: word-list\nVersion: 1.0\n")
    names = [
        "words = word_list:WordListExporter",
        "dying = word_list:DyingExporter",
        "broken = word_list:Shard",
        "invalid = word_list:INVALID",
        "parquet = word_list:WordListExporter",
    ]
    (info / "entry_points.txt").write_text("\n".join(["[sca.exporters]", *names, ""]))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.syspath_prepend(site)
    return site


def test_plugin_adds_a_format(data, plugin, tmp_path):
    words = [word["word"] for track in tracks_of(data) for word in track.record["words"]]
    root = tmp_path / "words"
    done = sca("export", data, "--to", "words", "-o", root, "--shard-size", SMALL, "--jobs", 2, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["items"] == len(words)
    assert (root / "words.txt").read_text() == str(len(words))
    assert "Read the files in `words`." in (root / "README.md").read_text()
    assert export(data, root, "words", shard_bytes=SMALL).made == 0
    with pytest.raises(InputError, match="words export"):
        verify(root)
    export(data, root, "lhotse", shard_bytes=SMALL, force=True)
    assert not (root / "words.txt").exists()
    assert not (root / "words").exists()


def test_killed_workers_fail_their_shard_only(data, plugin, tmp_path):
    root, sessions = tmp_path / "dying", sorted({track.record["session_id"] for track in tracks_of(data)})
    done = sca("export", data, "--to", "dying", "-o", root, "--jobs", 2, "--json")
    assert done.returncode == 7, done.stderr
    assert json.loads(done.stdout)["failed"] == {
        f"words/{sessions[0]}": "its worker process was killed twice (SIGKILL), often for lack of memory: try fewer --jobs"
    }
    assert sorted(path.stem for path in root.glob("words/*.txt")) == sessions[1:]
    assert not (root / "export.json").exists()


def test_plugin_cannot_replace_a_format_or_be_invalid(data, plugin, tmp_path):
    assert exporter_names() == [*BUILT_IN_FORMATS, "broken", "dying", "invalid", "words"]
    assert isinstance(load_exporter("parquet"), ParquetExporter)
    with pytest.raises(MissingToolError, match=r"plugin broken failed: Shard.__init__"):
        load_exporter("broken")
    with pytest.raises(MissingToolError, match=r"plugin invalid does not implement sca\.data\.export\.base\.Exporter"):
        load_exporter("invalid")
    with pytest.raises(UsageError) as error:
        load_exporter("csv")
    assert "broken, dying, invalid, words" in error.value.hint
