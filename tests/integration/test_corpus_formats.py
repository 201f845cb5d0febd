"""Corpora of other layouts become data sets that prove, and what is wrong with them is said line by line."""

import json
import shutil

import numpy as np
import pytest
import soundfile as sf

from sca.data.corpora.conversation import CorpusFormat
from sca.data.corpora.formats import open_corpus
from sca.data.duplex.build import build_duplex
from sca.data.duplex.load import load
from sca.data.duplex.verify import verify
from sca.errors import InputError
from tests.integration import corpus

RATE = 24_000
WORDS = [
    ["hello", [1.0, 1.4], "SPEAKER_MAIN"],
    ["friend", [1.5, 2.0], "SPEAKER_MAIN"],
    ["yes", [3.0, 3.3], "SPEAKER_OTHER"],
    ["so", [3.2, 3.6], "SPEAKER_MAIN"],
    ["indeed", [7.0, 7.5], "SPEAKER_OTHER"],
]


def recording(root, name="a", words=WORDS, seconds=12.0):
    left, right = corpus.tone(seconds, RATE), corpus.tone(seconds, RATE, level=0.1)
    (root / "stereo").mkdir(parents=True, exist_ok=True)
    sf.write(root / "stereo" / f"{name}.wav", np.stack([left, right], 1), RATE, subtype="PCM_16")
    (root / "stereo" / f"{name}.json").write_text(json.dumps({"alignments": words}), encoding="utf-8")
    return json.dumps({"path": f"stereo/{name}.wav", "duration": seconds})


def listed(root, *lines):
    root.mkdir(parents=True, exist_ok=True)
    file = root / "data.jsonl"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def test_moshi_becomes_rows_that_prove(tmp_path):
    source = listed(tmp_path / "m", recording(tmp_path / "m"))
    summary = build_duplex(source, tmp_path / "data", corpus.settings(window="4-20"))
    assert (summary.built, summary.failed, summary.dropped, summary.skipped) == (1, [], [], [])
    assert not verify(tmp_path / "data").problems
    data = load(tmp_path / "data")
    for side, speaker in (("main", "SPEAKER_MAIN"), ("other", "SPEAKER_OTHER")):
        words = data.words("stereo-a", f"stereo-a.{side}")
        expected = [[text, times] for text, times, who in WORDS if who == speaker]
        assert [[w["word"], [w["start"], w["end"]]] for w in words] == expected
        assert {w["source"] for w in words} == {"given"}
    # Each side hears the other's channel, on its own time.
    loud = {row.row_id.split(":")[1]: float(np.abs(row.heard).max()) for row in data}
    assert loud["stereo-a.main>stereo-a.other"] > 1.8 * loud["stereo-a.other>stereo-a.main"]


def test_a_second_run_redoes_nothing(tmp_path):
    source = listed(tmp_path / "m", recording(tmp_path / "m"))
    build_duplex(source, tmp_path / "data", corpus.settings(window="4-20"))
    first = corpus.tree_bytes(tmp_path / "data")
    again = build_duplex(source, tmp_path / "data", corpus.settings(window="4-20"))
    assert (again.built, again.kept) == (0, 1)
    assert corpus.tree_bytes(tmp_path / "data") == first
    assert not (tmp_path / "data" / ".sca" / "import").exists()


def test_a_channel_is_copied_exactly(tmp_path):
    source = listed(tmp_path / "m", recording(tmp_path / "m"))
    scan = open_corpus(source).scan(tmp_path / "files")
    stereo, _ = sf.read(tmp_path / "m" / "stereo" / "a.wav", dtype="int32")
    for channel, track in enumerate(scan.sessions[0].tracks):
        np.testing.assert_array_equal(sf.read(track.audio, dtype="int32")[0], stereo[:, channel])


BROKEN = {
    "not JSON": (lambda root: "{", "invalid JSON"),
    "no path": (lambda root: '{"duration": 3}', "path: field required"),
    "missing audio": (lambda root: '{"path": "no.wav"}', "does not exist"),
    "mono": (lambda root: mono(root), "two are needed"),
    "no sidecar": (lambda root: without_words(root), "there is no"),
    "alignments of another shape": (lambda root: recording(root, "x", [["hello", 1.0]]), "alignments.0"),
    "only one speaker": (lambda root: recording(root, "x", WORDS[:2]), "one other speaker are needed"),
    "reversed time": (lambda root: recording(root, "x", [*WORDS, ["no", [5, 4], "SPEAKER_MAIN"]]), "entry 6 ends at 4"),
    "negative time": (lambda root: recording(root, "x", [["no", [-1, 4], "SPEAKER_MAIN"]]), "greater than or equal"),
    "the same again": (lambda root: recording(root, "good"), "in the list already"),
}


def mono(root):
    line = recording(root, "x")
    sf.write(root / "stereo" / "x.wav", corpus.tone(3.0), 16_000)
    return line


def without_words(root):
    line = recording(root, "x")
    (root / "stereo" / "x.json").unlink()
    return line


@pytest.mark.parametrize("case", BROKEN)
def test_a_bad_recording_is_named_and_costs_no_other(tmp_path, case):
    line, reason = BROKEN[case]
    good = recording(tmp_path / "m", "good")
    source = listed(tmp_path / "m", good, line(tmp_path / "m"))
    found = open_corpus(source, CorpusFormat.moshi)
    assert [session.session_id for session in found.foreign] == ["stereo-good"]
    (report,) = found.skipped
    assert report.line == 2
    assert reason in str(report)


def test_words_past_the_end_are_left_out_and_said(tmp_path):
    late = [*WORDS, ["late", [40.0, 40.5], "SPEAKER_MAIN"]]
    source = listed(tmp_path / "m", recording(tmp_path / "m", words=late))
    summary = build_duplex(source, tmp_path / "data", corpus.settings(window="4-20"))
    assert any("ends at 40.5" in note for note in summary.skipped)
    assert not verify(tmp_path / "data").problems


def test_nothing_usable_is_an_error_and_makes_no_folder(tmp_path):
    source = listed(tmp_path / "m", mono(tmp_path / "m"))
    with pytest.raises(InputError, match="two are needed"):
        build_duplex(source, tmp_path / "data", corpus.settings())
    assert not (tmp_path / "data").exists()
    shutil.rmtree(tmp_path / "m")
    with pytest.raises(InputError, match="cannot be read"):
        build_duplex(source, tmp_path / "data", corpus.settings())
