"""`--accept-damage` of every command that reads recordings: a damaged file fails, and a higher limit accepts it."""

import hashlib
import json
from typing import NamedTuple

import pytest
import soundfile
from typer.testing import CliRunner

from sca.cli.main import app
from tests.helpers import corpus
from tests.helpers.coded_parts import Part, damaged_mp3, tone, write_part
from tests.helpers.show_lines import event, line
from tests.helpers.tiny_whisper import scripted_whisper

SECONDS = 30.0
LOST = range(500, 510)  # 0.24 s in the middle, more than 0.1 s
NEEDED = 29  # 0.24 s of 30 s is 28.8 s of an hour


class Damage(NamedTuple):
    """What is reported about a damaged recording: the fault, the limit that accepts it, and the note it leaves."""

    fault: str
    needed: int
    note: str


DAMAGES = {
    "mp3": Damage("is damaged near second 11.98", NEEDED, "0.24 s of silence in place of damaged packets, at 11.98 s"),
    "flac": Damage("is damaged near second 14.69", 35, "0.29 s of silence in place of damaged packets, at 14.69 s"),
    "wav": Damage("is cut short", 60, "cut short: the last 0.50 s of 30.00 s are missing"),
}


def damaged_flac(path):
    """Write FLAC with 3000 bytes in its middle overwritten."""
    content = bytearray(write_part(path, "flac", Part(seconds=SECONDS)).read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3000] = b"\xff" * 3000
    path.write_bytes(content)
    return path


def cut_wav(path):
    """Write WAV without its last half second."""
    soundfile.write(path, tone(Part(seconds=SECONDS)), 48_000)
    path.write_bytes(path.read_bytes()[:-48_000])
    return path


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("damaged")
    for kind in DAMAGES:
        (folder / kind).mkdir()
    return {
        "mp3": damaged_mp3(folder / "mp3" / "night.mp3", SECONDS, LOST),
        "flac": damaged_flac(folder / "flac" / "night.flac"),
        "wav": cut_wav(folder / "wav" / "night.wav"),
    }


@pytest.fixture
def damaged(recordings):
    return recordings["mp3"]


def transcode_arguments(damaged, folder):
    return ["transcode", damaged.parent, folder / "out", damaged.suffix[1:], "opus"]


def transcribe_arguments(damaged, folder):
    model = scripted_whisper(folder)
    options = ["--model", model, "--device", "cpu", "--reactions", "none"]
    return ["transcribe", damaged, "--save-file", folder / "lines.jsonl", *options]


def convert_arguments(damaged, folder):
    shows, audio = folder / "lines.jsonl", folder / "audio"
    audio.mkdir()
    (audio / damaged.name).write_bytes(damaged.read_bytes())
    soundfile.write(audio / "other.wav", corpus.tone(SECONDS), corpus.RATE)
    talk = event(5.0, 15.0, "Ten seconds of talk.")
    shows.write_text(f"{line('night', talk)}\n{line('other', talk)}\n")
    return ["convert", "--input-file", shows, "--audio-dir", audio, "--output-dir", folder / "out"]


def build_arguments(damaged, folder):
    source = corpus.pair(folder / "corpus")
    corpus.pair(source, "A0002_S0002_0")
    (source / "WAV" / "A0001_S0001_0_G0001.wav").write_bytes(damaged.read_bytes())
    return ["build-duplex", source, "--output", folder / "out", "--set", "duplex.model_path=builtin:qwen"]


COMMANDS = [transcode_arguments, transcribe_arguments, convert_arguments, build_arguments]


def run(arguments, *options, code=0):
    done = CliRunner().invoke(app, [*map(str, arguments), "--json", *options])
    assert done.exit_code == code, done.output
    return json.loads(done.stdout), done.stderr


def remarks(document):
    return [text for note in document["notes"] for text in note] if "notes" in document else document["notices"]


@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.parametrize("arguments_of", COMMANDS)
def test_higher_limit_retries_and_accepts_a_damaged_recording(arguments_of, kind, recordings, tmp_path):
    arguments, (fault, needed, note) = arguments_of(recordings[kind], tmp_path), DAMAGES[kind]
    refused, stderr = run(arguments, code=7)
    (reason,) = refused["failed"].values()
    assert fault in reason
    assert f"--accept-damage {needed}" in reason
    assert f"--accept-damage {needed}" in stderr
    # A limit that does not accept the recording leaves the failure.
    for limit in ("1", f"{needed - 1}"):
        left, _ = run(arguments, "--no-retry-failed", "--accept-damage", limit, code=7)
        assert list(left["failed"].values()) == [reason]
    accepted, _ = run(arguments, "--no-retry-failed", "--accept-damage", str(needed))
    assert accepted["failed"] == {}
    assert any(note in text for text in remarks(accepted))


@pytest.mark.parametrize("arguments_of", COMMANDS)
def test_finished_recordings_stay_finished_at_any_limit(arguments_of, damaged, tmp_path):
    arguments = arguments_of(damaged, tmp_path)
    run(arguments, "--accept-damage", str(NEEDED))
    before = digest(tmp_path)
    for limit in ("3600", "1", "0"):
        again, _ = run(arguments, "--accept-damage", limit)
        assert again["failed"] == {}
        assert again.get("made", again.get("built", again.get("encoded"))) == 0
        assert digest(tmp_path) == before


def digest(folder):
    """Return a hash of all results; a second run may word its report differently."""
    suffixes = {".flac", ".opus", ".arrow", ".jsonl"}
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix in suffixes]
    files = [path for path in files if path.name != ".files.jsonl"]  # when each file was last seen
    assert files
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def test_data_set_with_damage_is_verified_against_its_corpus(damaged, tmp_path):
    arguments = build_arguments(damaged, tmp_path)
    run(arguments, "--accept-damage", str(NEEDED))
    assert "accept_damage_s" not in (tmp_path / "out" / "settings.json").read_text()
    done = CliRunner().invoke(app, ["verify", str(tmp_path / "out"), "--source", str(tmp_path / "corpus")])
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("value", ["-1", "3601", "nan", "some"])
def test_limit_has_bounds(value, damaged, tmp_path):
    done = CliRunner().invoke(app, ["transcode", str(damaged), str(tmp_path / "out"), "--accept-damage", value])
    assert done.exit_code in (2, 3)
    assert not (tmp_path / "out").exists()


def test_timelines_of_an_accepted_recording_verify(damaged, tmp_path):
    """The same content was accepted when its line was made. A line of an older version, without a digest, needs the option."""
    run(transcribe_arguments(damaged, tmp_path), "--accept-damage", str(NEEDED))
    lines = tmp_path / "lines.jsonl"
    check = ["verify", lines, "--audio-dir", damaged.parent]
    proof, _ = run(check, "--accept-damage", "0")
    assert (proof["holds"], proof["heard"]) == (True, 1)
    older = json.loads(lines.read_text())
    assert older.pop("sha256")
    lines.write_text(json.dumps(older) + "\n")
    refused, stderr = run(check, "--accept-damage", "28", code=5)
    assert (refused["holds"], refused["heard"]) == (False, 0)
    assert f"--accept-damage {NEEDED}" in stderr
    proof, _ = run(check, "--accept-damage", str(NEEDED))
    assert (proof["holds"], proof["heard"]) == (True, 1)
