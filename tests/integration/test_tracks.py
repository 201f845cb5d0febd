"""`--track` and `--audio-language`: one of several audio tracks, in every command that reads recordings."""

import json

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from sca.audio.decode import Reading, probe, read_audio, read_with_notes
from sca.cli.main import app
from sca.errors import InputError
from tests.helpers import corpus
from tests.helpers.coded_parts import Part, pitch, write_tracks
from tests.helpers.show_lines import event, line
from tests.helpers.tiny_whisper import scripted_whisper

SECONDS = 12.0
PITCHES = {"eng": 440.0, "ger": 880.0, "fra": 1320.0}


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tracks")
    parts = {language: Part(hz=hz, seconds=SECONDS) for language, hz in PITCHES.items()}
    return write_tracks(folder / "talk.mka", parts, default=1)


@pytest.mark.parametrize(
    ("reading", "hz", "note"),
    [
        (Reading(), 880, "track 2 of 3 audio tracks is read (ger)"),
        (Reading(track=1), 440, "track 1 of 3 audio tracks is read (eng)"),
        (Reading(track=3), 1320, "track 3 of 3 audio tracks is read (fra)"),
        (Reading(language="en"), 440, "track 1 of 3 audio tracks is read (eng)"),
        (Reading(language="de-AT"), 880, "track 2 of 3 audio tracks is read (ger)"),
        (Reading(language="DEU"), 880, "track 2 of 3 audio tracks is read (ger)"),
        (Reading(language="fre"), 1320, "track 3 of 3 audio tracks is read (fra)"),
    ],
)
def test_track_is_chosen_by_number_or_language(several, reading, hz, note):
    x, notes = read_with_notes(several, 16_000, reading=reading)
    assert pitch(x, 16_000) == pytest.approx(hz, abs=5)
    assert notes == (note,)


def test_track_that_does_not_exist_is_refused(several, tmp_path):
    listed = r"has 3 audio tracks \(1 eng, 2 ger, 3 fra\)"
    with pytest.raises(InputError, match=f"{listed}; track 4 does not exist"):
        probe(several, Reading(track=4))
    with pytest.raises(InputError, match=f"{listed}, and none in the language it"):
        probe(several, Reading(language="it"))
    for name in ("a.flac", "a.wav"):
        soundfile.write(tmp_path / name, np.zeros(1000), 16_000)
        assert probe(tmp_path / name, Reading(track=1)).frames == 1000
        assert probe(tmp_path / name, Reading(language="it")).frames == 1000
        with pytest.raises(InputError, match="has one audio track; track 2 does not exist"):
            probe(tmp_path / name, Reading(track=2))


def transcode_arguments(several, folder):
    return ["transcode", several, folder / "out", "--sample-rate", "16000"]


def transcribe_arguments(several, folder):
    model = scripted_whisper(folder)
    return ["transcribe", several, "--save-file", folder / "out" / "lines.jsonl", "--model", model, "--device", "cpu"]


def convert_arguments(several, folder):
    shows = folder / "lines.jsonl"
    shows.write_text(line("talk", event(2.0, 10.0, "Eight seconds of talk.")) + "\n")
    options = ["--cut-start", "0", "--cut-end", "0", "--min-duration", "1", "--min-speech-duration", "1"]
    return ["convert", "--input-file", shows, "--audio-dir", several.parent, "--output-dir", folder / "out", *options]


def build_arguments(several, folder):
    source = corpus.pair(folder / "corpus")
    (source / "WAV" / "A0001_S0001_0_G0001.wav").write_bytes(several.read_bytes())
    return ["build-duplex", source, "--output", folder / "out", "--set", "duplex.model_path=builtin:qwen"]


def run(arguments, *options, code=0):
    done = CliRunner().invoke(app, [*map(str, arguments), "--json", *options])
    assert done.exit_code == code, done.output
    return json.loads(done.stdout), done.stderr


def made(document):
    return document.get("made", document.get("built", document.get("encoded")))


@pytest.mark.parametrize(
    "arguments_of", [transcode_arguments, transcribe_arguments, convert_arguments, build_arguments]
)
def test_every_command_reads_the_chosen_track(arguments_of, several, tmp_path):
    arguments = arguments_of(several, tmp_path)
    _, stderr = run(arguments)
    assert "track 2 of 3 audio tracks is read (ger)" in stderr
    ledger = next((tmp_path / "out").glob("*ledger.jsonl"))
    notes = [note for text in ledger.read_text().splitlines() for note in json.loads(text).get("notes", [])]
    assert any("track 2 of 3" in note for note in notes)
    # Another track is another result. An existing one is only replaced where it can be made again.
    force = [] if arguments_of is transcribe_arguments else ["--force"]
    document, stderr = run(arguments, "--audio-language", "fr", *force)
    assert made(document) == 1
    assert "track 3 of 3 audio tracks is read (fra)" in stderr
    again, _ = run(arguments, "--audio-language", "fr")
    assert made(again) == 0
    done = CliRunner().invoke(app, [*map(str, arguments), "--track", "1", "--audio-language", "fr"])
    assert done.exit_code == 3
    assert "give one of them" in done.stderr


SRT = "1\n00:00:0{},000 --> 00:00:0{},500\n{}\n"


def test_readers_of_corpora_look_at_the_chosen_track(tmp_path):
    """The default track is mono and too short, the second one is the conversation."""
    source, out = tmp_path / "corpus", tmp_path / "out"
    source.mkdir()
    tracks = {"eng": Part(seconds=2.0), "ger": Part("stereo", hz=880.0, seconds=SECONDS)}
    write_tracks(source / "talk.mka", tracks, default=0)
    (source / "talk.left.srt").write_text(SRT.format(4, 6, "How are you?"))
    (source / "talk.right.srt").write_text(SRT.format(7, 8, "Very well."))
    arguments = ["build-duplex", source, "--output", out, "--set", "duplex.model_path=builtin:qwen"]
    done = CliRunner().invoke(app, [*map(str, arguments)])
    assert done.exit_code == 5
    assert "has 1 channel(s); two are needed" in done.stderr
    document, _ = run(arguments, "--track", "2")
    assert document["built"] == 1
    # What the build recorded decides, not an option.
    verified = CliRunner().invoke(app, ["verify", str(out), "--source", str(source)])
    assert verified.exit_code == 0, verified.output


def test_length_of_a_show_is_that_of_the_chosen_track(tmp_path):
    write_tracks(tmp_path / "talk.mka", {"eng": Part(seconds=2.0), "ger": Part(seconds=SECONDS)}, default=0)
    shows = tmp_path / "lines.jsonl"
    laugh = event(6.0, 8.0, "[laughter]", "environment")
    shows.write_text(line("talk", event(2.0, 5.5, "Three seconds of talk."), laugh, duration_s=SECONDS) + "\n")
    arguments = ["build-duplex", shows, "--output", tmp_path / "out", "--set", "duplex.model_path=builtin:qwen"]
    done = CliRunner().invoke(app, [*map(str, arguments)])
    assert "lasts 2.000 s, talk was transcribed from one of 12.000 s" in done.stderr
    assert run(arguments, "--track", "2")[0]["built"] == 1


def test_result_of_another_track_stays_without_force(several, tmp_path):
    arguments = transcode_arguments(several, tmp_path)
    run(arguments)
    document, _ = run(arguments, "--track", "1", code=7)
    assert "was made as flac, 16000 Hz, mono, 16 bit: --force writes it again" in document["failed"]["talk.mka"]
    run(arguments, "--track", "1", "--force")
    assert pitch(read_audio(tmp_path / "out" / "talk.flac"), 16_000) == pytest.approx(440, abs=5)
