"""A corpus reader of another installed package is found by its entry point, detects its layout and is used by the builder."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

import sca
from sca.data.corpora.base import Conversation, CorpusFormat, Issue
from sca.data.corpora.registry import corpus_formats, detect_format, open_corpus
from sca.data.duplex.build.dataset import build_duplex
from sca.data.duplex.load.dataset import load
from sca.data.duplex.verify.dataset import verify
from sca.errors import InputError, MissingToolError, UsageError
from tests.helpers import corpus

DOCS = Path(__file__).resolve().parents[2] / "docs" / "corpora.md"


def example() -> str:
    """The reader in the documentation."""
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL) if "Reader" in block]
    return code


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Install packages that provide a reader under a name; the example of the documentation is `chat`."""
    site = tmp_path / "site"
    monkeypatch.syspath_prepend(str(site))

    def install(name="chat", code=None, target="ChatReader"):
        module = f"plugin_{name}"
        info = site / f"{module}-1.0.dist-info"
        info.mkdir(parents=True)
        (site / f"{module}.py").write_text(example() if code is None else code)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[sca.corpora]\n{name} = {module}:{target}\n")
        monkeypatch.delitem(sys.modules, module, raising=False)

    return install


def chat(folder: Path, name: str = "talk") -> Path:
    folder.mkdir(exist_ok=True)
    sound = np.stack([corpus.tone(3.0), corpus.tone(3.0, level=0.1)], 1)
    sf.write(folder / f"{name}.wav", sound, corpus.RATE)
    (folder / f"{name}.chat").write_text("hello there\n")
    return folder / f"{name}.chat"


def test_builds_a_corpus_of_a_plugin_reader(tmp_path, installed):
    installed()
    source = chat(tmp_path)
    assert detect_format(source) == "chat"
    assert corpus_formats() == [*CorpusFormat, "chat"]
    summary = build_duplex(source, tmp_path / "data", corpus.settings(window="session"))
    assert (summary.failed, summary.details.skipped, summary.details.kept) == ([], [], 1)
    assert not verify(tmp_path / "data").problems
    words = load(tmp_path / "data").words("talk", "ann")
    assert [(word["word"], word["start"], word["source"]) for word in words] == [
        ("hello", 0.5, "given"),
        ("there", 0.875, "given"),
    ]


def test_reads_conversations_of_a_plugin_reader(tmp_path, installed):
    installed()
    opened = open_corpus(chat(tmp_path), "chat")
    (conversation,) = opened.conversations()
    assert isinstance(conversation, Conversation)
    assert [track.speaker_id for track in conversation.tracks] == ["ann", "ben"]
    (tmp_path / "talk.wav").unlink()
    assert list(opened.conversations()) == [Issue("skipped", tmp_path / "talk.chat", None, "has no recording")]
    with pytest.raises(InputError, match=r"has no session with two speakers: .*has no recording"):
        open_corpus(tmp_path / "talk.chat", "chat")


def test_reads_conversations_of_a_builtin_layout(tmp_path):
    source = corpus.pair(corpus.pair(tmp_path / "corpus"), "A0002_S0002_0")
    (source / "TXT" / "A0002_S0002_0_G0002.txt").write_text("not a transcript\n")
    first, issue = sca.read_corpus(str(source))
    assert isinstance(first, Conversation)
    assert [track.speaker_id for track in first.tracks] == ["G0001", "G0002"]
    assert [utterance.text for utterance in first.tracks[1].utterances] == ["are you in a hurry today", "good"]
    assert isinstance(issue, Issue)
    assert (issue.level, issue.path.name) == ("skipped", "A0002_S0002_0_G0001.wav")
    assert "fewer than two speakers can be read" in issue.reason


def test_builtin_layouts_take_precedence(tmp_path, installed):
    installed(
        "moshi", "class ChatReader:\n    def matches(self, source): return True\n    def read(self, source): yield"
    )
    assert detect_format(corpus.pair(tmp_path / "corpus")) == CorpusFormat.magichub
    assert corpus_formats() == list(CorpusFormat)


def test_rejects_unknown_layouts_and_broken_plugins(tmp_path, installed):
    source = chat(tmp_path)
    with pytest.raises(UsageError, match="chat is not a corpus format") as error:
        open_corpus(source, "chat")
    assert "auto, magichub, moshi, lhotse, events, stereo, kaldi, nemo" in (error.value.hint or "")
    installed("empty", "ChatReader = object")
    with pytest.raises(MissingToolError, match="does not have the methods matches and read"):
        open_corpus(source, "empty")
    installed("broken", "raise RuntimeError('no licence')")
    with pytest.raises(MissingToolError, match=r"plugin broken of package plugin_broken .*: no licence"):
        open_corpus(source, "broken")


def test_skips_session_ids_that_are_not_file_names(tmp_path, installed):
    installed(code=example().replace("source.stem, (ann", "'../' + source.stem, (ann"))
    with pytest.raises(InputError, match=r"session id '\.\./talk' cannot be the name of a file"):
        open_corpus(chat(tmp_path), "chat")


def test_orders_and_checks_what_a_plugin_reads(tmp_path, installed):
    code = example()
    code = code.replace('(Utterance(8_000, 20_000, "hello there", line=1),)', UTTERANCES)
    code = code.replace("(ann, ben)", "(ben, ann)")
    installed(code=code)
    (conversation,) = open_corpus(chat(tmp_path), "chat").conversations()
    assert [track.speaker_id for track in conversation.tracks] == ["ann", "ben"]
    assert [utterance.text for utterance in conversation.tracks[0].utterances] == ["hello there", "again"]
    assert [(issue.level, issue.line, issue.reason) for issue in conversation.issues] == [
        ("skipped", 3, "lasts from sample 9000 to 9000, which is not a length of time"),
        ("skipped", 4, "lasts from sample -5 to 10, which is not a length of time"),
        ("skipped", 5, "overlaps line 2 by 0.688 s"),
    ]
    installed("twice", code.replace('Track("ben"', 'Track("ann"'))
    with pytest.raises(InputError, match="session talk has two tracks of ann"):
        open_corpus(tmp_path / "talk.chat", "twice")


UTTERANCES = """(
            Utterance(30_000, 40_000, "again", line=1),
            Utterance(8_000, 20_000, "hello there", line=2),
            Utterance(9_000, 9_000, "empty", line=3),
            Utterance(-5, 10, "negative", line=4),
            Utterance(9_000, 20_000, "over it", line=5),
        )"""
