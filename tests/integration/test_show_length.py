"""A show whose length is misstated: variable bit rate without a Xing header, with a quiet beginning."""

import json

import av
import pytest
from typer.testing import CliRunner

from sca.cli.main import app
from tests.helpers import corpus
from tests.helpers.coded_parts import Part, write_part
from tests.helpers.show_lines import event, line

QUIET_S, LOUD_S = 40.0, 200.0
SECONDS = QUIET_S + LOUD_S


@pytest.fixture(scope="module")
def show(tmp_path_factory):
    folder = tmp_path_factory.mktemp("show")
    plain = {"write_xing": "0", "id3v2_version": "0"}
    quiet = write_part(folder / "quiet.mp3", "mp3", Part(rate_hz=24_000, seconds=QUIET_S), 8_000, **plain)
    loud = write_part(folder / "loud.mp3", "mp3", Part(rate_hz=24_000, seconds=LOUD_S), 64_000, **plain)
    path = folder / "audio" / "show.mp3"
    path.parent.mkdir()
    path.write_bytes(quiet.read_bytes() + loud.read_bytes())
    with av.open(str(path)) as container:
        assert container.duration / 1e6 > 4 * SECONDS, "FFmpeg's estimate is far too long"
    return path


def sca(*arguments):
    done = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_show_is_converted_and_built_at_its_length(show, tmp_path):
    shows = tmp_path / "lines.jsonl"
    talk = [event(start, start + 8.0, f"Eight seconds of talk from {start:.0f}.") for start in (45.0, 120.0, 225.0)]
    shows.write_text(line("show", *talk) + "\n")
    limits = ["--cut-start", "0", "--cut-end", "0", "--min-duration", "1", "--min-speech-duration", "1"]
    converted = sca(
        "convert", "--input-file", shows, "--audio-dir", show.parent, "--output-dir", tmp_path / "c", *limits
    )
    assert (converted["failed"], converted["dropped"]) == ({}, {})
    assert converted["seconds"] == pytest.approx(SECONDS, abs=0.2)
    note = f"by its bit rate, {converted['seconds']:.0f}"
    assert any(note in text for _, text in converted["notes"]), converted["notes"]
    source = corpus.pair(tmp_path / "corpus", audio=SECONDS)
    (source / "WAV" / "A0001_S0001_0_G0001.wav").write_bytes(show.read_bytes())
    built = sca("build-duplex", source, "--output", tmp_path / "d", "--set", "duplex.model_path=builtin:qwen")
    assert (built["failed"], built["dropped"]) == ({}, {})
    assert any(note in text for text in built["notices"]), built["notices"]
