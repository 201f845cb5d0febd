"""Every transcript format of the table in docs/corpora.md: the words, times and channel of each speaker."""

import sys

import numpy as np
import pytest

from sca.data.corpora.base import Conversation, Issue
from sca.data.corpora.registry import detect_format, open_corpus
from sca.data.duplex.audio.channel_audio import PartReader
from sca.errors import InputError, MissingToolError
from tests.helpers import transcript_shapes as shapes


def loudest_side(track):
    """Return the speaker whose sound a track has."""
    with PartReader(track.audio, track.part) as reader:
        sound = np.concatenate(list(reader))
        times = [(words[0][1], words[0][2]) for words in shapes.WORDS]
        return int(
            np.argmax([np.abs(sound[int(a * reader.rate_hz) : int(b * reader.rate_hz)]).max() for a, b in times])
        )


ALL = shapes.SHAPES | shapes.LISTS


@pytest.mark.parametrize("shape", ALL)
def test_reads_words_times_and_channels(shape, tmp_path):
    folder = tmp_path / "corpus"
    ALL[shape](folder)
    found = list(open_corpus(folder).conversations())
    assert [str(issue) for issue in found if isinstance(issue, Issue)] == []
    (conversation,) = found
    assert isinstance(conversation, Conversation)
    assert conversation.issues == ()
    tracks = sorted(conversation.tracks, key=loudest_side)
    assert [loudest_side(track) for track in tracks] == [0, 1]
    for track, lines, words in zip(tracks, shapes.LINES, shapes.WORDS, strict=True):
        assert " ".join(u.text for u in track.utterances).split() == " ".join(line[2] for line in lines).split()
        assert track.utterances[0].start == pytest.approx(lines[0][0] * 16_000, abs=16)
        assert track.utterances[-1].end == pytest.approx(lines[-1][1] * 16_000, abs=16)
        given = {(word, round(start, 2)) for word, start, _ in words}
        assert {(word.text, round(word.start / 16_000, 2)) for word in track.words or ()} <= given


def test_each_shape_is_detected(tmp_path):
    for shape, write in shapes.SHAPES.items():
        write(tmp_path / shape)
        assert detect_format(tmp_path / shape) == "stereo"


@pytest.mark.parametrize("shape", shapes.ERRORS)
def test_error_names_what_to_do(shape, tmp_path):
    write, reason = shapes.ERRORS[shape]
    write(tmp_path / "corpus")
    with pytest.raises(InputError) as raised:
        open_corpus(tmp_path / "corpus")
    assert reason in raised.value.message


@pytest.mark.parametrize(("shape", "module"), [("TextGrid", "praatio.textgrid"), ("ELAN", "pympi.Elan")])
def test_missing_library_names_the_extra(shape, module, tmp_path, monkeypatch):
    shapes.SHAPES[shape](tmp_path / "corpus")
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingToolError) as raised:
        open_corpus(tmp_path / "corpus")
    assert "sca[corpora]" in (raised.value.hint or "")
