"""moshi-finetune data becomes a valid data set, and invalid lines are reported."""

import json
import shutil

import numpy as np
import pytest
import soundfile as sf

from sca.data.corpora.base import CorpusFormat
from sca.data.corpora.registry import open_corpus
from sca.data.duplex.audio.stored_samples import read_samples
from sca.data.duplex.build.dataset import build_duplex
from sca.data.duplex.load.dataset import load
from sca.data.duplex.storage.tracks import stored_tracks
from sca.data.duplex.verify.dataset import verify
from sca.data.runs.files import sha256_of
from sca.errors import InputError
from tests.helpers import corpus

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


def test_moshi_data_becomes_valid_rows(tmp_path):
    source = listed(tmp_path / "m", recording(tmp_path / "m"))
    summary = build_duplex(source, tmp_path / "data", corpus.settings(window="4-20"))
    assert (summary.details.built, summary.failed, summary.dropped, summary.details.skipped) == (1, [], [], [])
    assert not verify(tmp_path / "data").problems
    data = load(tmp_path / "data")
    for side, speaker in (("main", "SPEAKER_MAIN"), ("other", "SPEAKER_OTHER")):
        words = data.words("stereo-a", f"stereo-a.{side}")
        expected = [[text, times] for text, times, name in WORDS if name == speaker]
        assert [[w["word"], [w["start"], w["end"]]] for w in words] == expected
        assert {w["source"] for w in words} == {"given"}
    # The input audio of each side is the other channel.
    loud = {row.row_id.split(":")[1]: float(np.abs(row.heard).max()) for row in data}
    assert loud["stereo-a.main>stereo-a.other"] > 1.8 * loud["stereo-a.other>stereo-a.main"]


def test_second_run_builds_nothing(tmp_path):
    source = listed(tmp_path / "m", recording(tmp_path / "m"))
    build_duplex(source, tmp_path / "data", corpus.settings(window="4-20"))
    first = corpus.tree_bytes(tmp_path / "data")
    again = build_duplex(source, tmp_path / "data", corpus.settings(window="4-20"))
    assert (again.details.built, again.details.kept) == (0, 1)
    assert corpus.tree_bytes(tmp_path / "data") == first


def test_new_words_rebuild_their_session_only(tmp_path):
    both = recording(tmp_path / "m"), recording(tmp_path / "m", "b")
    source = listed(tmp_path / "m", *both)
    build_duplex(source, tmp_path / "data", corpus.settings(window="4-20"))
    changed = [["hi", [1.0, 1.4], "SPEAKER_MAIN"], *WORDS[1:]]
    recording(tmp_path / "m", "b", changed)
    # A new line moves all others, which must not matter.
    listed(tmp_path / "m", recording(tmp_path / "m", "c"), *both)
    summary = build_duplex(source, tmp_path / "data", corpus.settings(window="4-20"))
    assert (summary.details.built, summary.details.kept) == (2, 3)
    assert load(tmp_path / "data").words("stereo-b", "stereo-b.main")[0]["word"] == "hi"


def test_removes_texts_that_older_versions_stored(tmp_path):
    source = listed(tmp_path / "m", recording(tmp_path / "m"))
    build_duplex(source, tmp_path / "data", corpus.settings(window="4-20"))
    stored = tmp_path / "data" / ".sca" / "import" / "TXT" / "stereo-a_stereo-a.main.txt"
    stored.parent.mkdir(parents=True)
    stored.touch()
    build_duplex(source, tmp_path / "data", corpus.settings(window="4-20"))
    assert not stored.parent.parent.exists()


def test_removes_sessions_that_left_the_list(tmp_path):
    both = recording(tmp_path / "m"), recording(tmp_path / "m", "b")
    build_duplex(listed(tmp_path / "m", *both), tmp_path / "data", corpus.settings(window="4-20"))
    summary = build_duplex(listed(tmp_path / "m", both[0]), tmp_path / "data", corpus.settings(window="4-20"))
    assert (summary.details.built, summary.details.kept) == (0, 1)
    assert not list((tmp_path / "data").rglob("*stereo-b*"))
    assert not verify(tmp_path / "data").problems


def test_each_side_equals_its_channel(tmp_path):
    source = listed(tmp_path / "m", recording(tmp_path / "m"))
    stereo, _ = sf.read(tmp_path / "m" / "stereo" / "a.wav", dtype="int16")
    build_duplex(source, tmp_path / "data", corpus.settings(window="4-20"))
    for channel, track in enumerate(stored_tracks(tmp_path / "data" / "storage" / "stereo-a.arrow")):
        np.testing.assert_array_equal(read_samples(track.spoken, 0, len(stereo), RATE), stereo[:, channel])
        assert track.record["provenance"]["transcript"] == "a.json"
        assert track.record["provenance"]["sha256"] == sha256_of(tmp_path / "m" / "stereo" / "a.wav")


def test_side_without_words_is_input_only(tmp_path):
    """moshi-finetune's annotate.py transcribes the left channel only."""
    only_main = [word for word in WORDS if word[2] == "SPEAKER_MAIN"]
    source = listed(tmp_path / "m", recording(tmp_path / "m", words=only_main))
    summary = build_duplex(source, tmp_path / "data", corpus.settings(window="4-20"))
    assert (summary.details.built, summary.failed, summary.dropped, summary.details.skipped) == (1, [], [], [])
    assert not verify(tmp_path / "data").problems
    data = load(tmp_path / "data")
    assert {row.row_id.split(":")[1] for row in data} == {"stereo-a.other>stereo-a.main"}
    assert data.words("stereo-a", "stereo-a.other") == []
    assert all(np.abs(row.heard).max() > 0.05 for row in data)


BROKEN = {
    "not JSON": (lambda root: "{", "invalid JSON"),
    "no path": (lambda root: '{"duration": 3}', "path: field required"),
    "missing audio": (lambda root: '{"path": "no.wav"}', "does not exist"),
    "mono": (lambda root: mono(root), "two are needed"),
    "no sidecar": (lambda root: without_words(root), "does not exist"),
    "alignments of another shape": (
        lambda root: recording(root, "x", [["hello", 1.0]]),
        "entry 1 is not [word, [start, end], speaker]",
    ),
    "no words": (lambda root: recording(root, "x", []), "words of no speaker"),
    "an unknown speaker": (
        lambda root: recording(root, "x", [*WORDS, ["hm", [5, 6], "A"]]),
        "at most one other speaker",
    ),
    "no main speaker": (lambda root: recording(root, "x", WORDS[2:3]), "words of SPEAKER_MAIN are needed"),
    "all words past the end": (
        lambda root: recording(root, "x", [["late", [40, 41], "SPEAKER_MAIN"]]),
        "ends at 41.000 s",
    ),
    "not a sound file": (lambda root: noise(root), "x.wav"),
    "broken JSON": (lambda root: broken(root), "x.json is not JSON"),
    "negative time": (lambda root: recording(root, "x", [["no", [-1, 4], "SPEAKER_MAIN"]]), "times -1 and 4, which"),
    "the same again": (lambda root: recording(root, "good"), "in the list already"),
}


def mono(root):
    line = recording(root, "x")
    sf.write(root / "stereo" / "x.wav", corpus.tone(3.0), 16_000)
    return line


def noise(root):
    line = recording(root, "x")
    (root / "stereo" / "x.wav").write_bytes(b"no sound at all")
    return line


def broken(root):
    line = recording(root, "x")
    (root / "stereo" / "x.json").write_text('{"alignments": [["hel')
    return line


def without_words(root):
    line = recording(root, "x")
    (root / "stereo" / "x.json").unlink()
    return line


@pytest.mark.parametrize("case", BROKEN)
def test_skips_an_invalid_recording_only(tmp_path, case):
    line, reason = BROKEN[case]
    good = recording(tmp_path / "m", "good")
    source = listed(tmp_path / "m", good, line(tmp_path / "m"))
    found = open_corpus(source, CorpusFormat.moshi).sessions()
    assert [session.session_id for session in found.sources] == ["stereo-good"]
    (report,) = found.issues
    assert (report.level, report.line) == ("skipped", 2)
    assert reason in str(report)


def test_reports_words_past_the_end(tmp_path):
    late = [*WORDS, ["late", [40.0, 40.5], "SPEAKER_MAIN"]]
    source = listed(tmp_path / "m", recording(tmp_path / "m", words=late))
    summary = build_duplex(source, tmp_path / "data", corpus.settings(window="4-20"))
    (note,) = summary.details.skipped
    assert note.endswith("a.json: entry 6, 'late' ends at 40.500 s, the recording at 12.000 s")
    assert not verify(tmp_path / "data").problems


def test_chinese_words_keep_their_times_without_spaces(tmp_path):
    words = [["今天", [1.0, 1.3], "SPEAKER_MAIN"], ["天气", [1.35, 1.7], "SPEAKER_MAIN"]]
    words += [["很好", [1.7, 2.1], "SPEAKER_MAIN"], ["好的", [3.0, 3.4], "SPEAKER_OTHER"]]
    source = listed(tmp_path / "m", recording(tmp_path / "m", words=words))
    build_duplex(source, tmp_path / "data", corpus.settings(window="4-20"))
    data = load(tmp_path / "data")
    spoken = data.words("stereo-a", "stereo-a.main")
    assert [(w["word"], w["start"]) for w in spoken] == list(
        zip("今天天气很好", (1.0, 1.15, 1.35, 1.525, 1.7, 1.9), strict=True)
    )
    assert {w["source"] for w in spoken} == {"given"}
    assert not verify(tmp_path / "data").problems


def test_word_without_times_is_interpolated(tmp_path):
    words = [["in", [1.0, 1.2], "SPEAKER_MAIN"], ["2019", [None, None], "SPEAKER_MAIN"]]
    words += [["we", [1.6, 1.8], "SPEAKER_MAIN"], ["yes", [3.0, 3.4], "SPEAKER_OTHER"]]
    source = listed(tmp_path / "m", recording(tmp_path / "m", words=words))
    build_duplex(source, tmp_path / "data", corpus.settings(window="4-20"))
    spoken = load(tmp_path / "data").words("stereo-a", "stereo-a.main")
    assert [(w["word"], w["start"], w["end"], w["source"]) for w in spoken] == [
        ("in", 1.0, 1.2, "given"),
        ("2019", 1.2, 1.52, "interpolated"),
        ("we", 1.6, 1.8, "given"),
    ]
    assert not verify(tmp_path / "data").problems


def test_one_word_with_invalid_times_is_interpolated(tmp_path):
    words = [*WORDS, ["no", [5, 4], "SPEAKER_MAIN"], ["hm", "?", "SPEAKER_MAIN"]]
    source = listed(tmp_path / "m", recording(tmp_path / "m", words=words))
    found = list(open_corpus(source).conversations())
    assert [str(issue).rpartition(": ")[2] for issue in found[:-1]] == [
        f"entry {len(WORDS) + 1} has the times 5 and 4, which are not used",
        f"entry {len(WORDS) + 2} is not [word, [start, end], speaker]",
    ]
    spoken = next(track.words for track in found[-1].tracks if track.speaker_id == "stereo-a.main")
    assert (spoken[-1].text, spoken[-1].source) == ("no", "interpolated")


def test_unusable_corpus_makes_no_folder(tmp_path):
    source = listed(tmp_path / "m", mono(tmp_path / "m"))
    with pytest.raises(InputError, match="two are needed"):
        build_duplex(source, tmp_path / "data", corpus.settings())
    assert not (tmp_path / "data").exists()
    shutil.rmtree(tmp_path / "m")
    with pytest.raises(InputError, match="cannot be read"):
        build_duplex(source, tmp_path / "data", corpus.settings())
