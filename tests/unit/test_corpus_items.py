"""An unexpected exception about one item of a corpus leaves that item out, with a reason, and no other."""

import json

import numpy as np
import pytest
import soundfile

from sca.data.corpora import dialogue, moshi, shows, stereo
from sca.data.corpora.base import Issue
from sca.data.corpora.registry import open_corpus
from tests.helpers.broken import break_for
from tests.helpers.show_lines import event, line

RATE_HZ = 16_000
NAMES = ("bad", "one", "two")


def sounds(folder, channels):
    folder.mkdir()
    for name in NAMES:
        soundfile.write(folder / f"{name}.wav", np.full((10 * RATE_HZ, channels), 0.1), RATE_HZ)
    return folder


def stereo_corpus(folder):
    source = sounds(folder / "stereo", 2)
    for name in NAMES:
        for side in ("left", "right"):
            (source / f"{name}.{side}.srt").write_text("1\n00:00:01,000 --> 00:00:03,000\nHow are you?\n")
    return source


def moshi_corpus(folder):
    source = sounds(folder / "moshi", 2)
    for name in NAMES:
        (source / f"{name}.json").write_text(json.dumps({"alignments": [["hello", [1.0, 1.5], "SPEAKER_MAIN"]]}))
    listed = [json.dumps({"path": f"{name}.wav", "duration": 10.0}) for name in NAMES]
    (source / "data.jsonl").write_text("\n".join(listed))
    return source / "data.jsonl"


def nemo_corpus(folder):
    source = sounds(folder / "nemo", 2)
    segment = {"offset": 1.0, "duration": 2.0, "text": "How are you?", "channel": 0}
    listed = [json.dumps(segment | {"audio_filepath": f"{name}.wav"}) for name in NAMES]
    (source / "manifest.json").write_text("\n".join(listed))
    return source / "manifest.json"


def show_corpus(folder):
    source = sounds(folder / "shows", 1)
    talk, laugh = event(1.0, 4.0, "Three seconds of talk."), event(5.0, 7.0, "[laughter]", "environment")
    (source / "lines.jsonl").write_text("".join(line(name, talk, laugh) + "\n" for name in NAMES))
    return source / "lines.jsonl"


@pytest.mark.parametrize(
    ("corpus_of", "module", "function"),
    [
        (stereo_corpus, stereo, "recordings_of"),
        (moshi_corpus, moshi, "recordings_of"),
        (nemo_corpus, dialogue, "recordings_of"),
        (show_corpus, shows, "length_s"),
    ],
)
def test_unexpected_exception_leaves_one_item_out(corpus_of, module, function, tmp_path, monkeypatch):
    source = corpus_of(tmp_path)
    assert len(open_corpus(source).sessions().sources) == len(NAMES)
    break_for(monkeypatch, module, function, "bad")
    found = open_corpus(source).sessions()
    assert [session.session_id for session in found.sources] == ["one", "two"]
    (issue,) = [issue for issue in found.issues if isinstance(issue, Issue) and issue.level == "skipped"]
    assert "unexpected ZeroDivisionError: injected in broken.py, line" in issue.reason
    assert "(a bug of sca; please report it)" in issue.reason
