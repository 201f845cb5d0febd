"""Problems in a corpus or a data set: one message names the problem, its place and the consequence."""

import json
import subprocess
import sys

import pytest
import soundfile as sf

from sca.data.duplex.build.dataset import build_duplex
from sca.data.duplex.load.dataset import load
from sca.data.duplex.storage.writer import SCHEMA_VERSION
from sca.data.duplex.verify.dataset import verify
from sca.errors import InputError, OutputError
from tests.helpers import corpus


def build(tmp_path, source, **overrides):
    summary = build_duplex(source, tmp_path / "data", corpus.settings(**overrides))
    assert verify(tmp_path / "data").holds
    return summary


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "not JSON"),
        ('{"words": []}', "not a list of [word, start, end]"),
        ('[["hello", 1.0]]', "entry 1: not [word, start, end]"),
        ('[["hello", 2.0, 1.0]]', "entry 1: ends at 1.0, before it starts"),
        ('[["hello", -1.0, 1.0]]', "entry 1: -1.0 is a negative time"),
        ('[["b", 2.0, 2.5], ["a", 1.0, 1.5]]', "entry 2: starts before the entry before it"),
    ],
)
def test_ignores_broken_word_times(tmp_path, content, reason):
    source = corpus.pair(tmp_path / "c")
    (source / "WORDS").mkdir()
    (source / "WORDS" / "A0001_S0001_0_G0001.json").write_text(content)
    summary = build(tmp_path, source)
    (note,) = summary.details.skipped
    assert "A0001_S0001_0_G0001.json" in note
    assert reason in note
    assert "word times of this track are not used" in note
    assert summary.details.report.align_source == {"interpolated": 15}


@pytest.mark.parametrize("moved", [-9.0, 40.0], ids=["before", "past the end"])
def test_ignores_word_times_outside_their_line(tmp_path, moved):
    lines = [(10.0, 12.0, "hello there my friend")]
    words = [[word, 10.0 + moved + n / 2, 10.4 + moved + n / 2] for n, word in enumerate(lines[0][2].split())]
    corpus.write_track(tmp_path / "c", "S_A", lines, 20.0, words=words)
    corpus.write_track(tmp_path / "c", "S_B", [(4.0, 5.0, "yes")], 20.0)
    summary = build(tmp_path, tmp_path / "c")
    assert summary.details.report.align_source == {"interpolated": 5}
    assert any("S_A.txt:1" in note and "do not match this utterance" in note for note in summary.details.notices)


def test_clips_word_times_at_the_end_of_the_recording(tmp_path):
    lines = [(8.0, 10.2, "hello there my friend")]
    words = [[word, 8.0 + n * 0.6, 8.7 + n * 0.6] for n, word in enumerate(lines[0][2].split())]
    corpus.write_track(tmp_path / "c", "S_A", lines, 10.0, words=words)
    corpus.write_track(tmp_path / "c", "S_B", [(4.0, 5.0, "yes")], 10.0)
    build(tmp_path, tmp_path / "c")
    ends = [word["end"] for word in load(tmp_path / "data").words("S", "A")]
    assert max(ends) == 10.0


def test_notes_another_speaker_in_the_speaker_column(tmp_path):
    source = corpus.pair(tmp_path / "c")
    path = source / "TXT" / "A0001_S0001_0_G0001.txt"
    path.write_text(path.read_text().replace("G0001", "G0777"))
    summary = build(tmp_path, source)
    assert any(
        "the speaker column has 'G0777'; the file name takes precedence" in note for note in summary.details.notices
    )


def test_names_the_line_of_a_mono_recording(tmp_path):
    sf.write(tmp_path / "a.wav", corpus.tone(10.0), 16_000)
    (tmp_path / "a.json").write_text(json.dumps({"alignments": [["hi", [1, 2], "SPEAKER_MAIN"]]}))
    (tmp_path / "list.jsonl").write_text(json.dumps({"path": "a.wav", "duration": 10.0}) + "\n")
    command = [sys.executable, "-m", "sca", "build-duplex", str(tmp_path / "list.jsonl"), "-o", str(tmp_path / "data")]
    finished = subprocess.run(command, capture_output=True, text=True)
    assert finished.returncode == 5
    assert "list.jsonl:1" in finished.stderr
    assert "has 1 channel(s)" in finished.stderr
    assert "Traceback" not in finished.stderr


@pytest.mark.parametrize("version", [2, SCHEMA_VERSION - 1, SCHEMA_VERSION + 1])
def test_rebuilds_another_schema_version_with_force(tmp_path, version):
    source = corpus.pair(tmp_path / "c")
    build(tmp_path, source)
    path = tmp_path / "data" / "settings.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": version}))
    for read in (load, verify):
        with pytest.raises(InputError, match=f"has schema version {version}, this sca reads {SCHEMA_VERSION}") as error:
            read(tmp_path / "data")
        assert ("--force" in error.value.hint) == (version < SCHEMA_VERSION)
    with pytest.raises(OutputError, match=f"schema_version {version}, now {SCHEMA_VERSION}"):
        build(tmp_path, source)
    assert build_duplex(source, tmp_path / "data", corpus.settings(), force=True).details.built == 1
    assert verify(tmp_path / "data").holds


def test_line_after_the_end_of_its_own_recording_is_left_out(tmp_path):
    lines = [(1.0, 2.4, "so I took the night bus"), (4.4, 5.6, "yes and it stopped")]
    corpus.write_track(tmp_path / "c", "A_S_G1", lines, 3.0)
    corpus.write_track(tmp_path / "c", "A_S_G2", [(3.0, 3.7, "oh really")], 7.0)
    summary = build_duplex(tmp_path / "c", tmp_path / "data", corpus.settings())
    (reason,) = summary.details.skipped
    assert reason.endswith("A_S_G1.txt:2: ends at 5.600 s, the recording at 3.000 s")
    assert verify(tmp_path / "data").holds
