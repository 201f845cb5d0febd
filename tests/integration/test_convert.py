"""`sca convert` through its command, and `easy_load` on what it made: real files, a real embedding model of random weights."""

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
from sca.errors import InputError, UsageError
from sca.resources import demo_corpus
from tests.helpers.fake_hub import fake_hub
from tests.helpers.held import held
from tests.helpers.tiny_speaker import write_speaker

ROOT = Path(__file__).resolve().parents[2]
RATE = 48_000


def run(*arguments, code=0):
    done = CliRunner().invoke(app, ["convert", *map(str, arguments)])
    assert done.exit_code == code, done.output
    return done


def event(start, end, content, role="comedian", **more):
    return {"start": start, "end": end, "role": role, "content": content, **more}


def line(name, *events, **more):
    return json.dumps({"video_id": name, "timeline": list(events), **more})


@pytest.fixture(scope="module")
def voice():
    """Somebody speaking, at 48 kHz: one side of the demo conversation."""
    with demo_corpus() as root:
        x, rate = soundfile.read(sorted((root / "WAV").iterdir())[0], dtype="float32")
    return soxr.resample(x, rate, RATE).astype(np.float32)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, voice):
    """Two shows that are good, and one line of each kind of bad input."""
    root = tmp_path_factory.mktemp("shows")
    audio, infos = root / "audio_outputs", root / "video_downloads"
    audio.mkdir()
    infos.mkdir()
    soundfile.write(audio / "One night [abcdefghij1].flac", voice, RATE)
    soundfile.write(audio / "second.wav", voice[: 40 * RATE], RATE)
    soundfile.write(audio / "twice.flac", voice[:RATE], RATE)
    soundfile.write(audio / "twice.wav", voice[:RATE], RATE)
    (audio / "broken.flac").write_bytes(b"fLaC, and then nothing of the kind")
    told = {
        "id": "abcdefghij1",
        "title": "One night | live",
        "license": "Creative Commons Attribution license (reuse allowed)",
    }
    told |= {"webpage_url": "https://example.org/v", "channel": "A club", "upload_date": "20240229"}
    (infos / "One night [abcdefghij1].info.json").write_text(json.dumps(told))
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


def test_both_tables_have_exactly_the_columns_of_the_format(made):
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


def test_rows_say_what_was_said_and_what_was_heard_before(made):
    rows = datasets.load_from_disk(str(made))["train"].to_list()
    assert [tuple(row.values()) for row in rows] == [
        ("abcdefghij1", 3.0, 10.0, 4.0, 10.0, "Good evening, everyone!", 0),
        ("abcdefghij1", 3.0, 31.0, 20.0, 31.0, "So I said to the judge:", 1),
        ("second", 3.0, 15.0, 5.0, 15.0, "Ten seconds of talk.", 0),
    ]


def test_load_dataset_opens_the_folder_by_its_card(made, tmp_path):
    rows = datasets.load_dataset(str(made), cache_dir=str(tmp_path))
    assert {name: len(split) for name, split in rows.items()} == {"train": 3}
    shows = datasets.load_dataset(str(made), "storage", cache_dir=str(tmp_path))
    assert shows["storage"]["session_id"] == ["abcdefghij1", "second"]


def test_the_card_has_counts_hours_licences_and_provenance(made):
    from huggingface_hub import DatasetCard

    card = DatasetCard.load(made / "README.md")
    assert [config["config_name"] for config in card.data.to_dict()["configs"]] == ["train", "storage"]
    assert card.data.to_dict()["language"] == ["en"]
    assert card.data.license == "other"  # one is known, one is not
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


def test_bad_lines_fail_alone_with_number_and_reason(inputs, tmp_path):
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
    assert {one["status"] for one in ledger} == {"kept", "dropped", "failed"}
    assert len(ledger) == 8
    voices = datasets.load_from_disk(str(out))["storage"]["speaker_embedding"]
    assert list(voices) == [None, None]  # no model: nothing, and no zeros


def test_audience_options_and_thresholds(inputs, tmp_path):
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


def test_a_second_run_encodes_nothing_and_changes_nothing(inputs, made, tmp_path):
    out = tmp_path / "data"
    shutil.copytree(made, out)
    again = json.loads(run(*arguments(inputs, out), "--speaker", inputs / "voice.onnx", "--json").stdout)
    assert again["encoded"] == 0
    assert files_of(out) == files_of(made)
    other = json.loads(
        run(*arguments(inputs, out), "--speaker", inputs / "voice.onnx", "--min-speech-duration", 0, "--json").stdout
    )
    assert (other["encoded"], other["rows"]) == (0, 4)  # rows are made anew, sound is not
    run(*arguments(inputs, out), "--speaker", inputs / "voice.onnx")
    assert files_of(out) == files_of(made)


def test_what_was_encoded_outlives_a_recording_that_is_away(inputs, made, tmp_path):
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
    )  # its time may have changed: hashed again
    assert files_of(out) == files_of(made)


def test_a_killed_run_goes_on_and_ends_in_the_same_bytes(inputs, made, tmp_path):
    out = tmp_path / "data"
    words = ["convert", *arguments(inputs, out), "--speaker", inputs / "voice.onnx"]
    with held(*words, at="*/.sca/shows/*.json", after=1) as process:
        process.kill()
    again = json.loads(run(*arguments(inputs, out), "--speaker", inputs / "voice.onnx", "--json").stdout)
    assert again["encoded"] == 1  # the finished one is not done again
    assert not list(out.rglob(".scratch-*"))
    assert files_of(out) == files_of(made)


@pytest.mark.parametrize(
    ("more", "code", "says"),
    [
        (["--speaker", "nowhere.onnx"], 4, "the speaker model nowhere.onnx does not exist"),
        (["--speaker", "xvector"], 2, "got 'xvector'"),
        (["--enhance", "deepfilter"], 4, "needs DeepFilterNet"),
        (["--enhance", "magic"], 2, "--enhance is none, deepfilter, got 'magic'"),
        (["--audio-dir", "nowhere"], 5, "there is no audio folder nowhere"),
        (["--input-file", "nowhere.jsonl"], 5, "cannot read nowhere.jsonl"),
        (["--private"], 2, "--private is about --push-to-hub"),
        (["--max-duration", "4"], 3, "should not be above convert.max_duration_s, which is 4"),
        (["--min-speech-duration", "50"], 5, "no show could be used"),
    ],
)
def test_one_clear_line_and_the_right_exit_code(inputs, tmp_path, more, code, says):
    done = run(*arguments(inputs, tmp_path / "data"), *more, code=code)
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_another_file_altogether_is_named_once(inputs, tmp_path):
    sound = inputs / "audio_outputs" / "twice.wav"
    done = run(*arguments(inputs, tmp_path / "data"), "--input-file", sound, code=5)
    said, hint = done.stderr.splitlines()
    assert said.startswith(f"sca: {sound} holds no timelines (line 1: not JSON (")
    assert "--input-file" in hint
    assert not (tmp_path / "data").exists()


def test_one_of_a_kind_is_told_as_one(inputs, tmp_path):
    (tmp_path / "one.jsonl").write_text(line("second", event(4.0, 20.0, "and then it began")) + "\nwords\n")
    done = run(*arguments(inputs, tmp_path / "data"), "--input-file", tmp_path / "one.jsonl", code=7)
    assert done.stdout.startswith("1 show, 0.01 h, 1 row with ")
    assert "sca: line 2: failed: not JSON (" in done.stderr
    assert "1 of 2 lines failed" in done.stderr


def test_the_thin_command_is_the_same_with_workers_too(inputs, tmp_path):
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


def test_raw_lines_are_the_slices_of_the_stored_sound(made):
    lines = sca.easy_load(made)
    assert len(lines) == 3
    row = lines[1]
    assert np.array_equal(row["audio"]["array"], stored(made, "audio")[3 * 16_000 : 31 * 16_000])
    assert np.array_equal(row["target_audio"]["array"], stored(made, "clean_audio")[20 * 24_000 : 31 * 24_000])
    assert (row["audio"]["sampling_rate"], row["target_audio"]["sampling_rate"]) == (16_000, 24_000)
    assert np.linalg.norm(row["speaker_embedding"]) == pytest.approx(1, abs=1e-5)
    assert lines[-1]["session_id"] == "second"
    assert [one["event_index"] for one in lines[:2]] == [0, 1]
    with pytest.raises(IndexError):
        lines[3]


def test_chat_lines_are_messages(made):
    line = sca.easy_load(made, format="chat")[0]
    system, user, assistant = line["messages"]
    assert (system["role"], user["role"], assistant["role"]) == ("system", "user", "assistant")
    assert "comedian" in system["content"][0]["text"]
    heard, asked = user["content"]
    assert np.array_equal(heard["audio"], stored(made, "audio")[3 * 16_000 : 4 * 16_000])  # nothing of the target
    assert asked["type"] == "text"
    assert assistant["content"] == [{"type": "text", "text": "Good evening, everyone!"}]
    assert "speaker_embedding" not in line


def test_talker_lines_have_the_targets_sound_and_the_voice(made):
    line = sca.easy_load(made, format="talker_chat")[2]
    text, sound = line["messages"][-1]["content"]
    assert text["text"] == "Ten seconds of talk."
    assert np.array_equal(sound["audio"], stored(made, "clean_audio", 1)[5 * 24_000 : 15 * 24_000])
    assert sound["sampling_rate"] == 24_000
    assert line["speaker_embedding"].shape == (192,)


def test_lines_survive_pickling(made):
    lines = sca.easy_load(made, format="talker_chat")
    _ = lines[0]
    copy = pickle.loads(pickle.dumps(lines))
    assert np.array_equal(copy[1]["messages"][1]["content"][0]["audio"], lines[1]["messages"][1]["content"][0]["audio"])


def test_a_line_never_reads_the_rest_of_the_show(made, tmp_path):
    """What lies behind a line in the file is noise, and the line does not notice."""
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


def test_what_is_no_data_set_or_no_format_says_so(made, tmp_path):
    with pytest.raises(InputError, match="is not a finished data set"):
        sca.easy_load(tmp_path)
    with pytest.raises(UsageError, match="no format 'duplex'") as caught:
        sca.easy_load(made, format="duplex")
    assert "raw, chat, talker_chat" in caught.value.hint


# --- the hub ---


def push(inputs, out, url, *more, offline="0"):
    """In a process of its own: huggingface_hub reads its settings once."""
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


def test_pushing_sends_the_tables_and_the_card_and_nothing_else(inputs, plain):
    with fake_hub() as hub:
        done = push(inputs, plain, hub.url, "--private")
        assert done.returncode == 0, done.stderr
        assert f"pushed to {hub.url}/datasets/me/data" in done.stdout
        (created,) = hub.created
        assert created["type"] == "dataset"
        assert created.get("private") is True or created.get("visibility") == "private"
    assert hub.files == {name: content for name, content in files_of(plain).items() if name != "ledger.jsonl"}


def test_a_hub_that_says_no_or_is_away_is_one_line_and_exit_6(inputs, plain):
    before = files_of(plain)
    with fake_hub() as hub:
        hub.status = 403
        refused = push(inputs, plain, hub.url)
    offline = push(inputs, plain, hub.url, offline="1")
    for done, says in (
        (refused, "the hub did not take me/data"),
        (offline, "the hub cannot be reached to push me/data"),
    ):
        assert done.returncode == 6, done.stderr
        assert says in done.stderr
        assert "Traceback" not in done.stderr
        assert "2 shows" in done.stdout  # what was made is still told
    assert files_of(plain) == before
