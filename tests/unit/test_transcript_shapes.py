"""Every transcript format of the table in docs/corpora.md: the words, times and channel of each speaker."""

import sys

import pytest

from sca.data.corpora.base import Conversation, Issue
from sca.data.corpora.registry import detect_format, open_corpus
from sca.distribution import install_extra
from sca.errors import InputError, MissingToolError
from tests.helpers import transcript_shapes as shapes

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
    for side, track in enumerate(shapes.by_side(conversation)):
        shapes.assert_says(track, side)


def test_words_without_times_are_interpolated(tmp_path):
    shapes.SHAPES["whisperX"](tmp_path / "corpus")
    (conversation,) = open_corpus(tmp_path / "corpus").conversations()
    words = next(track.words for track in conversation.tracks if track.speaker_id == "a.SPEAKER_00")
    between = [(word.text, word.start / 16_000, word.end / 16_000) for word in words if word.source == "interpolated"]
    assert between == [("what,", 0.8, pytest.approx(1.2)), ("I", 4.2, pytest.approx(4.28))]
    assert len(words) == len(shapes.WORDS[0])


def test_times_in_milliseconds_are_noted(tmp_path):
    for write in (shapes.moshi_milliseconds, shapes.nemo_milliseconds):
        folder = tmp_path / write.__name__
        write(folder)
        note, conversation = open_corpus(folder).conversations()
        assert (note.level, "times are milliseconds: as seconds, they would end at 5000 s" in note.reason) == (
            "note",
            True,
        )
        assert sorted(track.utterances[0].start for track in conversation.tracks) == [8_000, 32_000]


def test_transcript_of_a_longer_recording_is_not_in_milliseconds(tmp_path):
    late = [[text, [a + 3000, b + 3000], "SPEAKER_MAIN"] for text, a, b in shapes.WORDS[0]]
    shapes.with_stereo("a.json", {"alignments": late})(tmp_path / "corpus")
    with pytest.raises(InputError, match=r"ends at 3000\.800 s, the recording at 8\.000 s"):
        open_corpus(tmp_path / "corpus")


@pytest.mark.parametrize(("name", "empty"), [("a.eaf", "<ANNOTATION_DOCUMENT/>"), ("a.srt", ""), ("a.json", "[]")])
def test_empty_transcript_is_a_conversation_without_speech(name, empty, tmp_path):
    shapes.with_stereo(name, empty)(tmp_path / "corpus")
    *notes, conversation = open_corpus(tmp_path / "corpus").conversations()
    sides = ("left", "right")
    assert [note.reason for note in notes] == [f"has no words; a.{side} is silent throughout" for side in sides]
    assert [(track.transcript.name, track.utterances) for track in conversation.tracks] == [(name, ())] * 2


def test_empty_transcript_of_a_channel_is_a_silent_speaker(tmp_path):
    shapes.per_channel(".srt", lambda side: "" if side else shapes.srt(0))(tmp_path / "corpus")
    note, conversation = open_corpus(tmp_path / "corpus").conversations()
    assert note.reason == "has no words; a.right is silent throughout"
    assert [bool(track.utterances) for track in conversation.tracks] == [True, False]
    assert all(track.transcript for track in conversation.tracks)


def test_single_speaker_has_the_louder_channel(tmp_path):
    shapes.with_stereo("a.json", shapes.whisper(1, "SPEAKER_00"))(tmp_path / "corpus")
    (conversation,) = open_corpus(tmp_path / "corpus").conversations()
    assert [bool(track.transcript) for track in sorted(conversation.tracks, key=shapes.loudest_side)] == [False, True]


def test_command_in_a_list_of_kaldi_costs_its_recording_only(tmp_path):
    shapes.kaldi(tmp_path)
    with (tmp_path / "wav.scp").open("a") as file:
        file.write("b touch made-by-a-command |\n")
    with (tmp_path / "segments").open("a") as file:
        file.write("x-0 b-A 0.5 1.0\nx-1 b-B 1.0 1.5\nx-2 a-A zero 1.5\nx-3 c 1 2\n")
    with (tmp_path / "text").open("a") as file:
        file.write("x-2 hm\n")
    *issues, conversation = open_corpus(tmp_path).conversations()
    assert conversation.session_id == "a"
    assert [issue.line for issue in issues] == [5, 8, 7]
    assert "wav.scp has the command 'touch made-by-a-command |'; save its output as files" in issues[0].reason
    assert not list(tmp_path.rglob("made-by*"))


def test_encoding_of_one_file_a_dialogue_is_noted(tmp_path):
    shapes.ramc(tmp_path, encoding="gbk")
    note, conversation = open_corpus(tmp_path).conversations()
    assert (note.level, note.reason) == ("note", "read as GBK, because it is not UTF-8")
    assert len(shapes.by_side(conversation)) == 2


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
    assert install_extra("corpora") in (raised.value.hint or "")
