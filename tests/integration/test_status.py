"""`sca status` on the output folders of the other commands."""

import json
import shutil

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from sca.cli.main import app
from sca.data.runs.ledger import Ledger, LedgerEntry
from sca.resources import demo_corpus
from sca.timeline import Show


def sca(*words, code=0):
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == code, done.output
    return done


def stages(folder, *options):
    document = json.loads(sca("status", folder, "--json", *options).stdout)
    assert document["path"] == str(folder)
    return document["stages"]


def stage(folder, *options):
    (found,) = stages(folder, *options)
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with the output of all six commands."""
    root = tmp_path_factory.mktemp("status") / "dataset"
    downloads = Ledger(root / "video_downloads" / "ledger.jsonl")
    downloads.settle(
        [
            LedgerEntry("aaaaaaaaaaa", "youtube aaaaaaaaaaa", "verified", extra={"seconds": 1800.0}),
            LedgerEntry(
                "bbbbbbbbbbb", "youtube bbbbbbbbbbb", "skipped", "already in archive.txt", extra={"seconds": 900.0}
            ),
            LedgerEntry("ccccccccccc", "youtube ccccccccccc", "failed", "Private video"),
            LedgerEntry("ddddddddddd", "youtube ddddddddddd", "failed", "Private video"),
            LedgerEntry("eeeeeeeeeee", "youtube eeeeeeeeeee", "failed", "HTTP 403 for the media", retryable=True),
        ]
    )
    recordings = root / "recordings"
    recordings.mkdir()
    with demo_corpus() as corpus:
        shutil.copy(sorted((corpus / "WAV").iterdir())[0], recordings / "show.wav")
    soundfile.write(recordings / "short.wav", np.zeros(72_000, np.float32), 48_000)
    for name in ("bad1.wav", "bad2.wav"):
        (recordings / name).write_text("this is not sound")
    sca("transcode", recordings, root / "audio_outputs", "any", code=7)
    shutil.rmtree(recordings)
    event = {"role": "comedian", "start": 4.0, "end": 20.0, "content": "and then it began"}
    show = Show(video_id="show", timeline=(event,), duration_s=60.0)
    empty = Show(video_id="short", timeline=(), duration_s=1.5)
    lines = root / "inference_outputs.jsonl"
    lines.write_text(show.model_dump_json() + "\n" + empty.model_dump_json() + "\n")
    Ledger(root / "inference_outputs.ledger.jsonl").settle(
        [
            LedgerEntry("show", "k", "kept"),
            LedgerEntry("short", "k", "kept"),
            LedgerEntry("bad", "k", "failed", "the recognizer failed: out of memory", retryable=True),
        ]
    )
    audio = root / "audio_outputs"
    sca("convert", "-i", lines, "--audio-dir", audio, "-o", root / "converted")
    sca("demo", "-o", root.parent / "demo")
    shutil.move(root.parent / "demo" / "duplex", root / "duplex")
    sca("export", root / "duplex", "--to", "parquet", "-o", root / "parquet")
    return root


def test_all_stages_in_pipeline_order(made):
    found = {status["stage"]: status for status in stages(made)}
    assert list(found) == ["download", "transcode", "transcribe", "convert", "build-duplex", "export"]
    assert all(status["complete"] for status in found.values())
    assert found["download"]["items"] == {"verified": 1, "skipped": 1, "failed": 3}
    assert found["download"]["hours"] == 0.75
    assert found["transcode"]["items"] == {"kept": 2, "failed": 2}
    assert found["transcribe"]["items"] == {"kept": 2, "failed": 1}
    assert found["transcribe"]["hours"] == pytest.approx(61.5 / 3600, abs=1e-4)
    assert found["transcribe"]["path"] == str(made / "inference_outputs.jsonl")
    assert found["convert"]["items"] == {"kept": 1, "dropped": 1}
    assert found["build-duplex"]["items"] == {"kept": 1}
    assert found["export"]["items"] == {"kept": 2}
    show_s = soundfile.info(made / "audio_outputs" / "show.flac").duration
    assert show_s > 50
    for name, seconds in {
        "transcode": show_s + 1.5,
        "convert": show_s,
        "build-duplex": show_s,
        "export": 2 * show_s,  # two tracks
    }.items():
        assert found[name]["hours"] == pytest.approx(seconds / 3600, abs=1e-3), name


def test_hours_of_a_data_set_are_those_of_its_report(made):
    report = json.loads((made / "duplex" / "report.json").read_text())
    assert stage(made / "duplex")["hours"] == pytest.approx(report["sessions"]["hours"], abs=1e-3)


def test_reasons_are_counted(made):
    assert stage(made / "video_downloads")["reasons"] == [
        {"status": "failed", "reason": "Private video", "count": 2},
        {"status": "failed", "reason": "HTTP 403 for the media", "count": 1},
    ]


def test_reasons_that_differ_only_in_the_file_are_one(made):
    (reason,) = stage(made / "audio_outputs")["reasons"]
    assert (reason["status"], reason["count"]) == ("failed", 2)
    assert "bad1" not in reason["reason"]


def test_failed_items_are_listed_with_reasons(made):
    lines = sca("status", made / "video_downloads", "--failed").stdout.splitlines()
    assert lines == [
        "download: ccccccccccc: Private video",
        "download: ddddddddddd: Private video",
        "download: eeeeeeeeeee: HTTP 403 for the media (may succeed later)",
    ]
    found = stage(made / "video_downloads", "--failed")["failed"]
    assert found[2] == {"item": "eeeeeeeeeee", "reason": "HTTP 403 for the media", "retryable": True}
    assert "failed" not in stage(made / "video_downloads")


def test_printed_lines(made):
    lines = sca("status", made).stdout.splitlines()
    assert lines[0] == f"download: 1 verified, 1 skipped, 3 failed; 0.75 h; in {made}/video_downloads"
    assert lines[1:3] == ["    2 failed: Private video", "    1 failed: HTTP 403 for the media"]
    assert lines[-1] == f"export: 2 kept; {stage(made / 'parquet')['hours']:.2f} h; in {made}/parquet"


def test_unfinished_output_is_marked(made, tmp_path):
    shutil.copytree(made / "duplex", tmp_path / "duplex")
    (tmp_path / "duplex" / "dataset_dict.json").unlink()
    shutil.copytree(made / "parquet", tmp_path / "parquet")
    (tmp_path / "parquet" / "export.json").unlink()
    shutil.copytree(made / "audio_outputs", tmp_path / "audio")
    (tmp_path / "audio" / ".sca-0123.part").touch()
    shutil.copytree(made / "video_downloads", tmp_path / "videos")
    (tmp_path / "videos" / ".incomplete").mkdir()
    shutil.copy(made / "inference_outputs.ledger.jsonl", tmp_path)
    found = stages(tmp_path)
    assert [status["complete"] for status in found] == [False] * 5
    assert sca("status", tmp_path / "videos").stdout.splitlines()[0].endswith("; unfinished")


def test_downloads_that_all_failed_are_recognised(tmp_path):
    Ledger(tmp_path / "ledger.jsonl").settle([LedgerEntry("x", "youtube x", "failed", "Private video")])
    assert stage(tmp_path)["stage"] == "download"


def test_nothing_is_written(made):
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*")}
    sca("status", made)
    assert {path: path.stat().st_mtime_ns for path in made.rglob("*")} == before


def test_folder_without_output(tmp_path):
    assert "no output of sca found" in sca("status", tmp_path, code=5).stderr
    assert "is not a folder" in sca("status", tmp_path / "nowhere", code=5).stderr


def test_broken_ledger_is_named(tmp_path):
    (tmp_path / "ledger.jsonl").write_text("{}\n{}\n")
    assert "ledger.jsonl:1: not a ledger line" in sca("status", tmp_path, code=5).stderr
