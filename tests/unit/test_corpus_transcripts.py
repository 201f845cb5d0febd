"""CTM, STM, SRT and WebVTT: the texts that are read, and the issues about invalid lines."""

import pytest

from sca.data.corpora.segments.channel_lines import read_ctm, read_stm
from sca.data.corpora.segments.cues import read_cues
from sca.data.corpora.segments.model import Problem
from sca.data.corpora.segments.telephone import read_chat
from sca.data.corpora.segments.word_times import WrittenWord, with_times


def found(path, text, read):
    path.write_text(text, encoding="utf-8")
    return list(read(path))


def plain(found_texts):
    return [
        (found.channel, found.text or found.words[0].text, found.start_s, found.end_s, found.speaker)
        for found in found_texts
    ]


def test_ctm_words(tmp_path):
    text = ";; made by hand\na 1 0.50 0.25 hello 0.98\n\na B 1.0 .5 you\na 1 2 1 <eps>\n"
    spoken = found(tmp_path / "a.ctm", text, read_ctm)
    assert plain(spoken) == [(0, "hello", 0.5, 0.75, None), (1, "you", 1.0, 1.5, None)]
    assert [word.line for word in spoken] == [2, 4]


def test_channels_that_count_from_zero(tmp_path):
    spoken = found(tmp_path / "a.ctm", "a 0 1.00 0.25 so\na 1 3.00 0.25 oh\na 1 4.00 0.25 really\n", read_ctm)
    assert [words[:2] for words in plain(spoken)] == [(0, "so"), (1, "oh"), (1, "really")]
    with pytest.raises(ValueError, match="has channels 0 and 2"):
        found(tmp_path / "b.ctm", "a 0 1.00 0.25 so\na 2 3.00 0.25 oh\n", read_ctm)


@pytest.mark.parametrize(
    ("turn", "text"),
    [
        ("xxx .", "<unk>"),
        ("well xxx said [/] it .", "well <unk> said it."),
        ("yyy@s:spa xxx, ok ?", "<unk> <unk> ok?"),
        ("www", "<unk>"),
        ("an xxxl size .", "an xxxl size."),
    ],
)
def test_chat_marks_of_unknown_speech(tmp_path, turn, text):
    spoken = found(tmp_path / "a.cha", f"@Begin\n*A:\t{turn}\x15500_2000\x15\n@End\n", read_chat)
    assert plain(spoken) == [(None, text, 0.5, 2.0, "A")]


def test_words_without_times_lie_between_their_neighbours():
    def word(text, start=None, end=None):
        return WrittenWord(text, start, end)

    words = [word("in"), word("the", 1.0, 1.2), word("19"), word("90s", 1.3), word("we", 1.4, 1.5), word("sang")]
    timed = [(w.text, round(w.start_s, 3), round(w.end_s, 3)) for w in with_times(words)]
    assert timed == [
        ("in", 0.84, 1.0),
        ("the", 1.0, 1.2),
        ("19", 1.2, 1.28),
        ("90s", 1.28, 1.4),
        ("we", 1.4, 1.5),
        ("sang", 1.5, 1.82),
    ]
    assert [w.given for w in with_times(words)] == [False, True, False, False, True, False]
    assert with_times([]) == with_times([word("all"), word("of")]) == ()


def test_stm_utterances(tmp_path):
    text = (
        ";; LABEL\na A nora 0.5 4.42 <o,f0,female> guess what\na 2 max 5 6 no way\n"
        "a 1 nora 6 7 IGNORE_TIME_SEGMENT_IN_SCORING\na 1 nora 8 9\n"
    )
    spoken = found(tmp_path / "a.stm", text, read_stm)
    assert plain(spoken) == [(0, "guess what", 0.5, 4.42, "nora"), (1, "no way", 5.0, 6.0, "max")]


SRT = """1
00:00:01,000 --> 00:00:02,500
Hello <i>there</i>,
{\\an8}friend.

2
00:01:00,0 --> 00:01:02,25 X1:40 X2:600
I had 2
3
01:00:00,000 --> 01:00:01,000
and 3.
"""
VTT = """WEBVTT - a title

NOTE 00:00 is not a cue

intro
00:01.000 --> 00:02.500 align:start
<v Nora>Hello <00:01.500>there</v>,
friend.

01:00:00.000 --> 01:00:01.000
and 3.
"""


@pytest.mark.parametrize(("name", "text"), [("a.left.srt", SRT), ("a.left.vtt", VTT)], ids=["srt", "vtt"])
def test_cues(tmp_path, name, text):
    for newline in ("\n", "\r\n"):
        cues = found(tmp_path / name, text.replace("\n", newline), read_cues)
        spoken = [(cue.start_s, cue.end_s, cue.text, cue.speaker) for cue in cues]
        assert spoken[0] == (1.0, 2.5, "Hello there, friend.", None if name.endswith("srt") else "Nora")
        assert spoken[-1] == (3600.0, 3601.0, "and 3.", None)
        if name.endswith("srt"):
            assert spoken[1] == (60.0, 62.25, "I had 2", None)


BAD = [
    (read_ctm, "a 1 0.5", "not 'file channel start duration word'"),
    (read_ctm, "a 3 0.5 0.2 hm", "channel '3' is not one of 1, 2, A and B"),
    (read_ctm, "a 1 nan 0.2 hm", "'nan' is not a number of seconds"),
    (read_ctm, "a 1 -1 0.2 hm", "'-1' is not a number of seconds"),
    (read_stm, "a 1 nora 5 4 backwards", "starts at 5, which is not before its end at 4"),
    (read_stm, "a 1 nora", "not 'file channel speaker start end text'"),
    (read_cues, "00:00:03,000 --> 00:00:02,000\nbackwards", "starts at 3, which is not before"),
    (read_cues, "0:3 --> later\nhm", "not the times of a cue"),
]


@pytest.mark.parametrize(("read", "line", "reason"), BAD)
def test_reports_an_invalid_line(tmp_path, read, line, reason):
    (report,) = found(tmp_path / "a.txt", f"\n{line}\n", read)
    assert isinstance(report, Problem)
    assert report.line == 2
    assert reason in report.reason


def test_rejects_a_binary_file(tmp_path):
    (tmp_path / "a.ctm").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"a\.ctm is not text"):
        list(read_ctm(tmp_path / "a.ctm"))
