"""`sca convert` and `easy_load` on its output: real files, an embedding model with random weights."""

import doctest
import io
import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
import soundfile
import soxr
from typer.testing import CliRunner

import sca
from sca.cli.main import app
from sca.config import load_settings
from sca.data.runs.executor import WorkerDiedError
from sca.data.shows import convert as convert_module
from sca.data.shows import encode, storage
from sca.data.shows.convert import convert
from sca.errors import InputError, UsageError
from sca.resources import demo_corpus
from tests.helpers.broken import REASON, break_for
from tests.helpers.fake_hub import fake_hub
from tests.helpers.held import held
from tests.helpers.replaced import replace_after
from tests.helpers.show_lines import event, line
from tests.helpers.tiny_speaker import write_speaker

ROOT = Path(__file__).resolve().parents[2]
RATE = 48_000


def run(*arguments, code=0):
    done = CliRunner().invoke(app, ["convert", *map(str, arguments)])
    assert done.exit_code == code, done.output
    return done


@pytest.fixture(scope="module")
def voice():
    """Speech at 48 kHz: one side of the demo conversation."""
    with demo_corpus() as root:
        x, rate = soundfile.read(sorted((root / "WAV").iterdir())[0], dtype="float32")
    return soxr.resample(x, rate, RATE).astype(np.float32)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, voice):
    """Two valid shows, and one line of each kind of invalid input."""
    root = tmp_path_factory.mktemp("shows")
    audio, infos = root / "audio_outputs", root / "video_downloads"
    audio.mkdir()
    infos.mkdir()
    soundfile.write(audio / "One night [abcdefghij1].flac", voice, RATE)
    soundfile.write(audio / "second.wav", voice[: 40 * RATE], RATE)
    soundfile.write(audio / "twice.flac", voice[:RATE], RATE)
    soundfile.write(audio / "twice.wav", voice[:RATE], RATE)
    (audio / "broken.flac").write_bytes(b"fLaC, and then no FLAC stream")
    info = {
        "id": "abcdefghij1",
        "title": "One night | live",
        "license": "Creative Commons Attribution license (reuse allowed)",
    }
    info |= {"webpage_url": "https://example.org/v", "channel": "A club", "upload_date": "20240229"}
    (infos / "One night [abcdefghij1].info.json").write_text(json.dumps(info))
    first = line(
        "abcdefghij1",
        event(1.0, 2.5, "An intro."),  # in the first 3 s
        event(4.0, 7.0, "Good evening"),
        event(7.3, 10.0, ", everyone!", delivery_tag="loud"),
        event(8.0, 9.0, "haha", role="audience", reaction_type="laughter"),
        event(10.2, 11.0, "door", role="environment"),
        event(20.0, 26.0, "So I said"),
        event(25.5, 31.0, "to the judge:"),  # overlaps
        event(33.0, 35.0, "No."),  # under 5 s
        language="en",
    )
    second = line("second", event(5.0, 15.0, "Ten seconds of talk."))
    lines = [
        first,
        "{not json",
        second,
        line("missing", event(5.0, 15.0, "x")),
        line("twice", event(5.0, 15.0, "x")),
        line("broken", event(5.0, 15.0, "x")),
        line("quiet", event(5.0, 15.0, "wind", role="environment")),
        json.dumps({"video_id": "odd", "timeline": [event(9, 3, "backwards")]}),
    ]
    (root / "all.jsonl").write_text("\n".join(lines) + "\n")
    (root / "good.jsonl").write_text(f"{first}\n{second}\n")
    write_speaker(root / "voice.onnx")
    return root


def arguments(inputs, out, source="good.jsonl"):
    return ["--input-file", inputs / source, "--audio-dir", inputs / "audio_outputs", "--output-dir", out, "--jobs", 1]


@pytest.fixture(scope="module")
def made(inputs, tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "data"
    run(*arguments(inputs, out), "--speaker", inputs / "voice.onnx", "--json", "--quiet")
    return out


def test_folder_of_somebody_else_stays_untouched(inputs, tmp_path):
    mine = {"README.md": "my own", "settings.json": "{}", "notes/.scratch-ideas/novel.txt": "x", "storage/a.arrow": "y"}
    for name, text in mine.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    for options in ([], ["--force"]):
        done = run(*arguments(inputs, tmp_path), *options, code=5)
        assert "has other files in it: README.md, notes, settings.json, …" in done.output
    left = {str(path.relative_to(tmp_path)): path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == mine


def test_run_sweeps_its_own_leftovers_only(inputs, made, tmp_path):
    data = shutil.copytree(made, tmp_path / "data")
    for name in ("storage/.scratch-killed", "notes/.scratch-ideas"):
        (data / name).mkdir(parents=True)
    (data / ".sca" / "convert.json").unlink()  # as folders of earlier versions
    run(*arguments(inputs, data), "--speaker", inputs / "voice.onnx", "--quiet")
    assert not (data / "storage" / ".scratch-killed").exists()
    assert (data / "notes" / ".scratch-ideas").is_dir()
    assert json.loads((data / ".sca" / "convert.json").read_text()) == {"made_by": "sca convert"}


def test_recording_that_is_replaced_meanwhile_fails(inputs, voice, tmp_path, monkeypatch):
    audio = shutil.copytree(inputs / "audio_outputs", tmp_path / "audio_outputs")
    soundfile.write(tmp_path / "new.wav", voice[20 * RATE : 60 * RATE], RATE)
    replace_after(monkeypatch, encode, "write_storage", audio / "second.wav", tmp_path / "new.wav")
    (tmp_path / "second.jsonl").write_text((inputs / "good.jsonl").read_text().splitlines()[1])
    options = ["--speaker", inputs / "voice.onnx"]
    done = run(*arguments(tmp_path, tmp_path / "data", "second.jsonl"), *options, code=5)
    assert "second.wav changed while it was read" in " ".join(done.output.split())
    run(*arguments(tmp_path, tmp_path / "data", "second.jsonl"), *options)
    made = datasets.load_from_disk(str(tmp_path / "data"))["storage"][0]["audio"]["bytes"]
    heard, _ = soundfile.read(io.BytesIO(made), dtype="float32")
    wanted = soxr.resample(voice[21 * RATE : 25 * RATE], RATE, 16_000)
    np.testing.assert_allclose(heard[16_000:][: len(wanted)][100:-100], wanted[100:-100], atol=0.01)


def test_columns_of_both_tables(made):
    data = datasets.load_from_disk(str(made))
    assert set(data) == {"storage", "train"}
    assert data["storage"].column_names == ["session_id", "audio", "clean_audio", "speaker_embedding"]
    assert data["train"].column_names == [
        "session_id", "start_sec", "end_sec", "target_start_sec", "target_end_sec", "target_text", "event_index",
    ]  # fmt: skip
    for name, rate in (("audio", 16_000), ("clean_audio", 24_000)):
        assert data["storage"].features[name].sampling_rate == rate
        cell = data["storage"].cast_column(name, datasets.Audio(decode=False))[0][name]
        with soundfile.SoundFile(io.BytesIO(cell["bytes"])) as file:
            assert (file.format, file.samplerate, file.channels) == ("FLAC", rate, 1)
    assert data["storage"].features["speaker_embedding"].length == 192


def test_rows_have_context_and_target(made):
    rows = datasets.load_from_disk(str(made))["train"].to_list()
    assert [tuple(row.values()) for row in rows] == [
        ("abcdefghij1", 3.0, 10.0, 4.0, 10.0, "Good evening, everyone!", 0),
        ("abcdefghij1", 3.0, 31.0, 20.0, 31.0, "So I said to the judge:", 1),
        ("second", 3.0, 15.0, 5.0, 15.0, "Ten seconds of talk.", 0),
    ]


def test_load_dataset_reads_the_card(made, tmp_path):
    rows = datasets.load_dataset(str(made), cache_dir=str(tmp_path))
    assert {name: len(split) for name, split in rows.items()} == {"train": 3}
    shows = datasets.load_dataset(str(made), "storage", cache_dir=str(tmp_path))
    assert shows["storage"]["session_id"] == ["abcdefghij1", "second"]


def test_card_has_counts_licences_and_sources(made):
    from huggingface_hub import DatasetCard

    card = DatasetCard.load(made / "README.md")
    assert [config["config_name"] for config in card.data.to_dict()["configs"]] == ["train", "storage"]
    assert card.data.to_dict()["language"] == ["en"]
    assert card.data.license == "other"  # one is known, one is unknown
    for text in (
        "| shows | 2 |",
        "| rows | 3 |",
        "| Creative Commons Attribution license (reuse allowed) | 1 |",
        "| unknown | 1 |",
        "| [abcdefghij1](https://example.org/v) | One night \\| live | A club | 2024-02-29 |",
    ):
        assert text in card.content
    assert str(made.parent) not in card.content
    sources = [json.loads(one) for one in (made / "sources.jsonl").read_text().splitlines()]
    assert [(one["item"], one["channel"]) for one in sources] == [("abcdefghij1", "A club"), ("second", None)]


def test_invalid_lines_fail_alone_with_a_reason(inputs, tmp_path):
    out = tmp_path / "data"
    done = run(*arguments(inputs, out, "all.jsonl"), "--json", code=7)
    document = json.loads(done.stdout)
    assert (document["shows"], document["rows"]) == (2, 3)
    failed = document["failed"]
    assert set(failed) == {"line 2", "line 8", "missing", "twice", "broken"}
    assert failed["line 2"].startswith("not JSON (")
    assert "end 3 is before start 9" in failed["line 8"]
    assert "no audio for missing" in failed["missing"]
    assert "2 files for twice: twice.flac and twice.wav" in failed["twice"]
    assert "broken.flac" in failed["broken"]
    assert list(document["dropped"]) == ["quiet"]
    assert "5 of 8 lines failed" in done.stderr
    assert document["counts"] == {"cut": 1, "extras": 3, "merged": 2, "overlaps": 1, "short_target": 1}
    assert document["without_embedding"] == 2
    ledger = [json.loads(one) for one in (out / "ledger.jsonl").read_text().splitlines()]
    assert {entry["status"] for entry in ledger} == {"kept", "dropped", "failed"}
    assert len(ledger) == 8
    voices = datasets.load_from_disk(str(out))["storage"]["speaker_embedding"]
    assert list(voices) == [None, None]  # None without a model, not zeros


def test_keep_audience_and_thresholds(inputs, tmp_path):
    out = tmp_path / "data"
    more = [
        "--keep-audience",
        "--merge-threshold",
        3,
        "--max-duration",
        20,
        "--min-speech-duration",
        1,
        "--cut-start",
        0,
    ]
    run(*arguments(inputs, out), *more)
    texts = [(row["start_sec"], row["target_text"]) for row in sca.easy_load(out)]
    assert texts == [
        (0.0, "An intro. Good evening, everyone! [laughter]"),
        (20.0, "So I said to the judge: No."),
        (0.0, "Ten seconds of talk."),
    ]


def files_of(root):
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and ".sca" not in path.parts and path.name != ".lock"
    }


def test_second_run_changes_nothing(inputs, made, tmp_path):
    out = tmp_path / "data"
    shutil.copytree(made, out)
    again = json.loads(run(*arguments(inputs, out), "--speaker", inputs / "voice.onnx", "--json").stdout)
    assert again["encoded"] == 0
    assert files_of(out) == files_of(made)
    other = json.loads(
        run(*arguments(inputs, out), "--speaker", inputs / "voice.onnx", "--min-speech-duration", 0, "--json").stdout
    )
    assert (other["encoded"], other["rows"]) == (0, 4)  # rows are derived again, audio is not
    run(*arguments(inputs, out), "--speaker", inputs / "voice.onnx")
    assert files_of(out) == files_of(made)


def test_failed_shows_are_retried_on_request(inputs, tmp_path):
    audio, out = tmp_path / "audio_outputs", tmp_path / "data"
    shutil.copytree(inputs / "audio_outputs", audio)
    (audio / "second.wav").write_bytes(b"RIFF, and then no WAV data")
    more = ["--audio-dir", audio, "--json"]
    first = json.loads(run(*arguments(inputs, out), *more, code=7).stdout)
    assert (first["encoded"], list(first["failed"])) == (1, ["second"])
    shutil.copy(inputs / "audio_outputs" / "second.wav", audio)
    skipped = json.loads(run(*arguments(inputs, out), *more, "--no-retry-failed", code=7).stdout)
    assert (skipped["encoded"], skipped["failed"]) == (0, first["failed"])
    retried = json.loads(run(*arguments(inputs, out), *more, "--retry-failed").stdout)
    assert (retried["encoded"], retried["shows"], retried["failed"]) == (1, 2, {})


class OneWorkerDies:
    """An executor that reports the death of the worker of one item, and does the others in this process."""

    def __init__(self, name):
        self.name = name

    def run(self, jobs, work):
        for item in jobs:
            yield item, WorkerDiedError("the worker died twice") if item.name == self.name else work(item)


def test_dead_worker_fails_its_show_only(inputs, tmp_path):
    files = inputs / "good.jsonl", inputs / "audio_outputs", tmp_path / "data"
    summary = convert(*files, load_settings(), executor=OneWorkerDies("second"))
    assert (summary.failed, summary.details.shows) == ([("second", "the worker died twice")], 1)
    entries = [json.loads(one) for one in (tmp_path / "data" / "ledger.jsonl").read_text().splitlines()]
    assert [(entry["item"], entry["status"]) for entry in entries] == [("abcdefghij1", "kept"), ("second", "failed")]
    again = convert(*files, load_settings(), jobs=1)
    assert (again.failed, again.made, again.already) == ([], 1, 1)


@pytest.mark.parametrize(("module", "function"), [(storage, "encode_tracks"), (convert_module, "plan_encoding")])
def test_unexpected_exception_fails_its_show_only(inputs, tmp_path, monkeypatch, module, function):
    break_for(monkeypatch, module, function, "second.wav")
    files = inputs / "good.jsonl", inputs / "audio_outputs", tmp_path / "data"
    summary = convert(*files, load_settings(), jobs=1)
    assert (summary.failed, summary.details.shows) == ([("second", REASON)], 1)
    assert "ZeroDivisionError: injected" in (tmp_path / "data" / "ledger.jsonl").read_text()
    monkeypatch.undo()
    assert convert(*files, load_settings(), jobs=1).failed == []


def test_encoded_audio_survives_a_missing_recording(inputs, made, tmp_path):
    out, away = tmp_path / "data", tmp_path / "audio_outputs"
    shutil.copytree(made, out)
    shutil.copytree(inputs / "audio_outputs", away)
    (away / "second.wav").rename(tmp_path / "second.wav")
    more = ["--audio-dir", away, "--info-dir", inputs / "video_downloads", "--speaker", inputs / "voice.onnx", "--json"]
    document = json.loads(run(*arguments(inputs, out), *more, code=7).stdout)
    assert (document["shows"], list(document["failed"])) == (1, ["second"])
    assert len(sca.easy_load(out)) == 2
    assert [path.name for path in (out / "storage").glob("*.arrow")] == ["abcdefghij1.arrow"]
    (tmp_path / "second.wav").rename(away / "second.wav")
    assert (
        json.loads(run(*arguments(inputs, out), *more).stdout)["encoded"] <= 1
    )  # its modification time may have changed
    assert files_of(out) == files_of(made)


def test_resumes_after_kill_with_the_same_bytes(inputs, made, tmp_path):
    out = tmp_path / "data"
    words = ["convert", *arguments(inputs, out), "--speaker", inputs / "voice.onnx"]
    with held(*words, at="*/.sca/shows/*.json", after=1) as process:
        process.kill()
    again = json.loads(run(*arguments(inputs, out), "--speaker", inputs / "voice.onnx", "--json").stdout)
    assert again["encoded"] == 1  # the finished show is not encoded again
    assert not list(out.rglob(".scratch-*"))
    assert files_of(out) == files_of(made)


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--speaker", "nowhere.onnx"], 4, "the speaker model nowhere.onnx does not exist"),
        (["--speaker", "xvector"], 2, "got 'xvector'"),
        (["--enhance", "deepfilter"], 4, "needs DeepFilterNet"),
        (["--enhance", "magic"], 2, "--enhance is none, deepfilter, dtln, got 'magic'"),
        (["--audio-dir", "nowhere"], 5, "the audio folder nowhere does not exist"),
        (["--input-file", "nowhere.jsonl"], 5, "cannot read nowhere.jsonl"),
        (["--private"], 2, "--private needs --push-to-hub"),
        (["--max-duration", "4"], 3, "should not be above convert.max_duration_s, which is 4"),
        (["--min-speech-duration", "50"], 5, "no show could be used"),
    ],
)
def test_error_message_and_exit_code(inputs, tmp_path, more, code, message):
    done = run(*arguments(inputs, tmp_path / "data"), *more, code=code)
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_rejects_a_file_without_timelines(inputs, tmp_path):
    sound = inputs / "audio_outputs" / "twice.wav"
    done = run(*arguments(inputs, tmp_path / "data"), "--input-file", sound, code=5)
    error, hint = done.stderr.splitlines()
    assert error.startswith(f"sca: {sound} contains no timelines (line 1: not JSON (")
    assert "--input-file" in hint
    assert not (tmp_path / "data").exists()


def test_messages_use_the_singular(inputs, tmp_path):
    (tmp_path / "one.jsonl").write_text(line("second", event(4.0, 20.0, "and then it began")) + "\nwords\n")
    done = run(*arguments(inputs, tmp_path / "data"), "--input-file", tmp_path / "one.jsonl", code=7)
    assert done.stdout.startswith("1 show, 0.01 h, 1 row with ")
    assert "sca: line 2: failed: not JSON (" in done.stderr
    assert "1 of 2 lines failed" in done.stderr


def test_script_with_two_workers(inputs, tmp_path):
    command = [sys.executable, ROOT / "scripts" / "convert_dataset.py", "--merge-threshold", "0.5"]
    done = subprocess.run(
        [*map(str, command), *map(str, arguments(inputs, tmp_path / "data")), "--jobs", "2"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "2 shows" in done.stdout


# --- easy_load ---


def stored(root, name, show=0):
    cell = datasets.load_from_disk(str(root))["storage"].cast_column(name, datasets.Audio(decode=False))[show][name]
    return soundfile.read(io.BytesIO(cell["bytes"]), dtype="float32")[0]


def test_raw_rows_are_slices_of_the_stored_audio(made):
    rows = sca.easy_load(made)
    assert len(rows) == 3
    row = rows[1]
    assert np.array_equal(row["audio"]["array"], stored(made, "audio")[3 * 16_000 : 31 * 16_000])
    assert np.array_equal(row["target_audio"]["array"], stored(made, "clean_audio")[20 * 24_000 : 31 * 24_000])
    assert (row["audio"]["sampling_rate"], row["target_audio"]["sampling_rate"]) == (16_000, 24_000)
    assert np.linalg.norm(row["speaker_embedding"]) == pytest.approx(1, abs=1e-5)
    assert rows[-1]["session_id"] == "second"
    assert [other["event_index"] for other in rows[:2]] == [0, 1]
    with pytest.raises(IndexError):
        rows[3]


def test_chat_rows_are_messages(made):
    line = sca.easy_load(made, format="chat")[0]
    system, user, assistant = line["messages"]
    assert (system["role"], user["role"], assistant["role"]) == ("system", "user", "assistant")
    assert "comedian" in system["content"][0]["text"]
    context, instruction = user["content"]
    assert np.array_equal(context["audio"], stored(made, "audio")[3 * 16_000 : 4 * 16_000])  # ends before the target
    assert instruction["type"] == "text"
    assert assistant["content"] == [{"type": "text", "text": "Good evening, everyone!"}]
    assert "speaker_embedding" not in line


def test_prompts_of_a_chat_can_be_replaced(made):
    rows = sca.easy_load(made, format="talker_chat", system_prompt="Be brief.", instruction_prompt="Go on.")
    system, user, _ = rows[0]["messages"]
    assert system["content"] == [{"type": "text", "text": "Be brief."}]
    assert user["content"][-1] == {"type": "text", "text": "Go on."}
    roles = [message["role"] for message in sca.easy_load(made, format="chat", system_prompt="")[0]["messages"]]
    assert roles == ["user", "assistant"]
    with pytest.raises(UsageError, match="has no instruction_prompt"):
        sca.easy_load(made, instruction_prompt="Go on.")


def test_talker_rows_have_target_audio_and_embedding(made):
    line = sca.easy_load(made, format="talker_chat")[2]
    text, sound = line["messages"][-1]["content"]
    assert text["text"] == "Ten seconds of talk."
    assert np.array_equal(sound["audio"], stored(made, "clean_audio", 1)[5 * 24_000 : 15 * 24_000])
    assert sound["sampling_rate"] == 24_000
    assert line["speaker_embedding"].shape == (192,)


def test_example_of_easy_load_runs(made, tmp_path, monkeypatch):
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "converted").symlink_to(made)
    monkeypatch.chdir(tmp_path)
    (example,) = doctest.DocTestFinder(recurse=False).find(sca.easy_load, "easy_load", globs={})
    assert doctest.DocTestRunner().run(example) == (0, 5)


def test_rows_survive_pickling(made):
    lines = sca.easy_load(made, format="talker_chat")
    _ = lines[0]
    copy = pickle.loads(pickle.dumps(lines))
    assert np.array_equal(copy[1]["messages"][1]["content"][0]["audio"], lines[1]["messages"][1]["content"][0]["audio"])


def test_row_does_not_read_the_rest_of_the_show(made, tmp_path):
    """The audio after the row is replaced by noise, and the row stays the same."""
    out = tmp_path / "data"
    shutil.copytree(made, out)
    wanted = sca.easy_load(made)[0]
    file = out / "storage" / "abcdefghij1.arrow"
    content = bytearray(file.read_bytes())
    for rate in ("audio", "clean_audio"):
        cell = datasets.load_from_disk(str(made))["storage"].cast_column(rate, datasets.Audio(decode=False))[0][rate]
        begin = content.index(cell["bytes"])
        half = len(cell["bytes"]) // 2
        content[begin + half : begin + len(cell["bytes"]) - 64] = np.random.default_rng(0).bytes(
            len(cell["bytes"]) - 64 - half
        )
    file.write_bytes(content)
    found = sca.easy_load(out)[0]
    assert np.array_equal(found["audio"]["array"], wanted["audio"]["array"])
    assert np.array_equal(found["target_audio"]["array"], wanted["target_audio"]["array"])


def test_easy_load_rejects_other_folders_and_formats(made, tmp_path):
    with pytest.raises(InputError, match="is not a finished data set"):
        sca.easy_load(tmp_path)
    with pytest.raises(UsageError, match="no format 'duplex'") as caught:
        sca.easy_load(made, format="duplex")
    assert "raw, chat, talker_chat" in caught.value.hint


# --- the hub ---


def push(inputs, out, url, *more, offline="0"):
    """Run in a new process, because huggingface_hub reads its environment only once."""
    command = [
        sys.executable,
        "-m",
        "sca",
        "convert",
        *map(str, arguments(inputs, out)),
        "--push-to-hub",
        "me/data",
        *more,
    ]
    env = os.environ | {"HF_ENDPOINT": url, "HF_TOKEN": "hf_test", "HF_HUB_OFFLINE": offline, "HF_HUB_DISABLE_XET": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=250)


@pytest.fixture(scope="module")
def plain(inputs, tmp_path_factory):
    out = tmp_path_factory.mktemp("plain") / "data"
    run(*arguments(inputs, out), "--quiet")
    return out


def test_push_uploads_tables_and_card_only(inputs, plain):
    with fake_hub() as hub:
        done = push(inputs, plain, hub.url, "--private")
        assert done.returncode == 0, done.stderr
        assert f"uploaded to {hub.url}/datasets/me/data" in done.stdout
        (created,) = hub.created
        assert created["type"] == "dataset"
        assert created.get("private") is True or created.get("visibility") == "private"
    assert hub.files == {name: content for name, content in files_of(plain).items() if name != "ledger.jsonl"}


def test_push_failure_exits_with_6(inputs, plain):
    before = files_of(plain)
    with fake_hub() as hub:
        hub.status = 403
        refused = push(inputs, plain, hub.url)
    offline = push(inputs, plain, hub.url, offline="1")
    for done, message in (
        (refused, "the hub rejected me/data"),
        (offline, "cannot reach the hub to upload me/data"),
    ):
        assert done.returncode == 6, done.stderr
        assert message in done.stderr
        assert "Traceback" not in done.stderr
        assert "2 shows" in done.stdout  # the data set is reported nevertheless
    assert files_of(plain) == before


READ = """
import sys
import sca
for format in ("raw", "chat", "talker_chat"):
    rows = sca.easy_load("me/data", format=format)
    print(format, len(rows), [row["session_id"] for row in rows])
print(sca.easy_load("hf://datasets/me/data", "raw")[0]["audio"]["array"].sum())
print(sca.easy_load(sys.argv[1], "raw")[0]["audio"]["array"].sum())
"""


def test_shows_are_read_from_the_hub_and_copied_once(inputs, plain, tmp_path):
    with fake_hub() as hub:
        done = push(inputs, plain, hub.url)
        assert done.returncode == 0, done.stderr
        env = os.environ | {"HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_test", "HF_HUB_OFFLINE": "0"}
        env |= {"SCA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": str(Path.cwd())}
        command = [sys.executable, "-c", READ, str(plain)]
        read = subprocess.run(command, capture_output=True, text=True, env=env, timeout=250, cwd=tmp_path)
    assert read.returncode == 0, read.stderr
    *formats, there, here = read.stdout.splitlines()
    assert there == here
    sessions = [row["session_id"] for row in sca.easy_load(plain, "raw")]
    assert formats == [f"{name} {len(sessions)} {sessions}" for name in ("raw", "chat", "talker_chat")]
    assert len([name for name, _ in hub.read if name.startswith("storage/") and name.endswith(".arrow")]) == 2
