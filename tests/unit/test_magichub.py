"""The MagicHub reader: how every file and line is treated, and the issues about those that are left out."""

import codecs
import json
import os
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import pytest

from sca.data.corpora.base import Conversation, Issue, TimedWord
from sca.data.corpora.magichub import SessionFiles, TrackFiles, read, scan
from sca.errors import InputError

LINE = "[0.5,1.5]\t{speaker}\tmale,none\thello there\n"


def corpus(root: Path, *names: str, suffix: str = ".wav") -> Path:
    """A corpus of empty recordings, each with a transcript of one line."""
    for folder in ("WAV", "TXT"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name in names:
        (root / "WAV" / f"{name}{suffix}").touch()
        (root / "TXT" / f"{name}.txt").write_text(LINE.format(speaker=name.rpartition("_")[2]))
    return root


def pair(root: Path) -> Path:
    return corpus(root, "A1_S1_G1", "A1_S1_G2")


def transcript(root: Path, content: str | bytes) -> tuple[Conversation, list[Issue]]:
    """Read a session in which `content` is the transcript of G1; the files of G2 and G3 are valid."""
    corpus(root, "A1_S1_G1", "A1_S1_G2", "A1_S1_G3")
    raw = content.encode() if isinstance(content, str) else content
    (root / "TXT" / "A1_S1_G1.txt").write_bytes(raw)
    conversation = read(scan(root).sessions[0])
    return conversation, list(conversation.issues)


def skipped(issues: Iterable[Issue]) -> list[Issue]:
    """The issues, all of which must be about something that was left out."""
    assert {issue.level for issue in issues} <= {"skipped"}
    return list(issues)


def lines_of(conversation: Conversation) -> list[tuple[int, int, str, int]]:
    return [(u.start, u.end, u.text, u.line) for u in conversation.tracks[0].utterances]


def words_file(root: Path, content: object) -> tuple[Conversation, list[Issue]]:
    pair(root)
    (root / "WORDS").mkdir()
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    (root / "WORDS" / "A1_S1_G1.json").write_bytes(raw)
    conversation = read(scan(root).sessions[0])
    return conversation, list(conversation.issues)


# --- scan: file names


def test_splits_names_at_the_last_underscore_and_sorts_them(tmp_path):
    corpus(tmp_path, "B_1_0_G2", "B_1_0_G1", "A_9_0_G7", "A_9_0_G10")
    found = scan(tmp_path)
    assert [s.session_id for s in found.sessions] == ["A_9_0", "B_1_0"]
    assert [[t.speaker_id for t in s.tracks] for s in found.sessions] == [["G10", "G7"], ["G1", "G2"]]
    assert found.sessions[1].tracks[0] == TrackFiles(
        "G1", tmp_path / "WAV" / "B_1_0_G1.wav", tmp_path / "TXT" / "B_1_0_G1.txt", None
    )
    assert found.issues == ()


@pytest.mark.parametrize("suffix", [".wav", ".WAV", ".Wav", ".flac", ".FLAC"])
def test_finds_wav_and_flac_in_any_case(tmp_path, suffix):
    corpus(tmp_path, "S_G1", "S_G2", suffix=suffix)
    assert [t.audio.name for t in scan(tmp_path).sessions[0].tracks] == [f"S_G1{suffix}", f"S_G2{suffix}"]


def test_session_with_three_speakers(tmp_path):
    assert len(scan(corpus(tmp_path, "S_G1", "S_G2", "S_G3")).sessions[0].tracks) == 3


def test_finds_word_times(tmp_path):
    pair(tmp_path)
    (tmp_path / "WORDS").mkdir()
    (tmp_path / "WORDS" / "A1_S1_G2.json").write_text("[]")
    (tmp_path / "WORDS" / "A9_S9_G9.json").write_text("[]")
    found = scan(tmp_path)
    assert [t.words and t.words.name for t in found.sessions[0].tracks] == [None, "A1_S1_G2.json"]
    assert [str(s) for s in skipped(found.issues)] == [
        f"{tmp_path}/WORDS/A9_S9_G9.json: word times without a recording and a transcript"
    ]


def test_skips_incomplete_tracks_and_single_speaker_sessions(tmp_path):
    corpus(tmp_path, "A_G1", "A_G2", "B_G1", "B_G2", "C_G1")
    (tmp_path / "TXT" / "A_G2.txt").unlink()
    (tmp_path / "WAV" / "B_G2.wav").unlink()
    found = scan(tmp_path)
    assert found.sessions == ()
    assert [(s.path.name, s.line, s.reason) for s in skipped(found.issues)] == [
        ("B_G2.txt", None, "no recording of that name in WAV"),
        ("A_G1.wav", None, "the only speaker of its session; a conversation needs two"),
        ("A_G2.wav", None, "no transcript of that name in TXT"),
        ("B_G1.wav", None, "the only speaker of its session; a conversation needs two"),
        ("C_G1.wav", None, "the only speaker of its session; a conversation needs two"),
    ]


@pytest.mark.parametrize("stem", ["nounderscore", "_G1", "A1_"])
def test_skips_names_without_session_and_speaker(tmp_path, stem):
    pair(tmp_path)
    (tmp_path / "WAV" / f"{stem}.wav").touch()
    found = scan(tmp_path)
    assert len(found.sessions) == 1
    assert [s.path.name for s in skipped(found.issues)] == [f"{stem}.wav"]
    assert "SESSION_SPEAKER" in found.issues[0].reason


def test_prefers_wav_over_flac_of_the_same_name(tmp_path):
    pair(tmp_path)
    (tmp_path / "WAV" / "A1_S1_G1.flac").touch()
    found = scan(tmp_path)
    assert found.sessions[0].tracks[0].audio.name == "A1_S1_G1.wav"
    assert [(s.path.name, s.reason) for s in skipped(found.issues)] == [
        ("A1_S1_G1.flac", "the same session and speaker as A1_S1_G1.wav, which is used")
    ]


def test_ignores_hidden_and_other_files(tmp_path):
    pair(tmp_path)
    for name in (".DS_Store", "._A1_S1_G1.wav", "notes_v1.md", "A1_S1_G3.mp3", "wav"):
        (tmp_path / "WAV" / name).touch()
    (tmp_path / "TXT" / "._A1_S1_G1.txt").touch()
    found = scan(tmp_path)
    assert (len(found.sessions), found.issues) == (1, ())


def test_skips_folders_and_broken_links(tmp_path):
    corpus(tmp_path, "A_G1", "A_G2")
    (tmp_path / "WAV" / "A_G3.wav").mkdir()
    (tmp_path / "WAV" / "A_G4.wav").symlink_to(tmp_path / "nowhere.wav")
    (tmp_path / "WAV" / "A_G5.wav").symlink_to(tmp_path / "WAV" / "A_G5.wav")
    found = scan(tmp_path)
    assert [t.speaker_id for t in found.sessions[0].tracks] == ["G1", "G2"]
    assert {s.path.name: s.reason for s in skipped(found.issues)} == {
        f"A_G{n}.wav": "not a file, or a link to nothing" for n in (3, 4, 5)
    }


def test_reports_non_utf8_file_names_printably(tmp_path):
    pair(tmp_path)
    try:
        (tmp_path / "WAV" / os.fsdecode(b"A_\xff.wav")).touch()
    except OSError:  # APFS cannot store such a name
        return
    issues = scan(tmp_path).issues
    assert [s.path for s in skipped(issues)] == [tmp_path / "WAV"]
    str(issues[0]).encode()


def test_follows_links_to_files(tmp_path):
    pair(tmp_path / "real")
    corpus(tmp_path / "linked")
    for folder in ("WAV", "TXT"):
        for path in (tmp_path / "real" / folder).iterdir():
            (tmp_path / "linked" / folder / path.name).symlink_to(path)
    assert len(scan(tmp_path / "linked").sessions) == 1


def test_finds_folders_in_any_case(tmp_path):
    pair(tmp_path)
    (tmp_path / "WAV").rename(tmp_path / "wav_")
    (tmp_path / "wav_").rename(tmp_path / "wav")
    (tmp_path / "TXT").rename(tmp_path / "txt_")
    (tmp_path / "txt_").rename(tmp_path / "Txt")
    assert len(scan(tmp_path).sessions) == 1


def test_scan_reads_no_text(tmp_path):
    pair(tmp_path)
    (tmp_path / "TXT" / "A1_S1_G1.txt").write_bytes(b"\0" * 1000)
    found = scan(tmp_path)
    assert (len(found.sessions), found.issues) == (1, ())


# --- scan: the wrong folder


def test_names_a_missing_folder_and_the_layout(tmp_path):
    with pytest.raises(InputError, match="has no WAV and TXT folder") as caught:
        scan(tmp_path)
    assert "SESSION_SPEAKER" in (caught.value.hint or "")
    (tmp_path / "WAV").mkdir()
    with pytest.raises(InputError, match="has no TXT folder"):
        scan(tmp_path)


@pytest.mark.parametrize("name", ["nothing", "file"])
def test_root_that_is_not_a_folder(tmp_path, name):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"does not exist|is not a folder") as caught:
        scan(tmp_path / name)
    assert caught.value.exit_code == 5


@pytest.mark.parametrize("inner", ["WAV", "TXT"])
def test_inner_folder_hint_names_the_corpus(tmp_path, inner, monkeypatch):
    pair(tmp_path / "corpus")
    with pytest.raises(InputError) as caught:
        scan(tmp_path / "corpus" / inner)
    assert caught.value.hint == f"give the folder that holds it: {tmp_path / 'corpus'}"
    monkeypatch.chdir(tmp_path / "corpus" / inner)
    with pytest.raises(InputError) as caught:
        scan(Path())
    assert str(tmp_path / "corpus") in (caught.value.hint or "")


def test_outer_folder_hint_names_the_corpus_in_it(tmp_path):
    pair(tmp_path / "one")
    with pytest.raises(InputError) as caught:
        scan(tmp_path)
    assert caught.value.hint == f"the corpus seems to be {tmp_path / 'one'}"
    pair(tmp_path / "two")
    with pytest.raises(InputError) as caught:
        scan(tmp_path)
    assert caught.value.hint == f"it holds 2 corpora; give one of them, for example {tmp_path / 'one'}"


def test_corpus_without_recordings_is_an_error(tmp_path):
    corpus(tmp_path)
    (tmp_path / "WAV" / "A_G1.mp3").touch()
    with pytest.raises(InputError, match=r"no \.wav or .flac files"):
        scan(tmp_path)


# --- read: lines


def test_times_become_samples_exactly(tmp_path):
    # 0.00003125 s is half a sample; 1.00009375 is one and a half samples past one second. Halves go up.
    conversation, issues = transcript(
        tmp_path, "[0.00003125,1.00009375]\tG1\tmale,none\ta\n[2,3.1000000000000001]\tG1\tmale,none\tb\n"
    )
    assert lines_of(conversation) == [(1, 16_002, "a", 1), (32_000, 49_600, "b", 2)]
    assert issues == []
    assert Fraction("1.00009375") * 16_000 == Fraction(32_003, 2)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("[1,2]\tG1\tmale,none\thello there", "hello there"),
        ("[1,2] G1 male hello there", "hello there"),
        ("[ 1.000 , 2 ]   G1    male,none     hello there  ", "hello there"),
        ("  [1,2]G1\tmale\thello there", "hello there"),
        ("[1,2]\tG1\t\tfemale,none\t\thello there", "hello there"),
        ("[1,2]\tG1\t\thello there", "hello there"),
        ("[1,2]\tG1 female hello there", "hello there"),
        ("[1,2]\tG1 female hello\tthere\tyou", "hello\tthere\tyou"),
        ("[1,2]\tG1\tfemale, none\thello there", "hello there"),
        ("[1,2]\tG1\tfemale,none\thello\tthere", "hello there"),
        ("[1,2]\tG1\tmale,none\t", ""),
        ("[1,2]\tG1\tmale,none", ""),
        ("[1,2] G1 male", ""),
        ("[1,2]\tG1\tmale,none\t[SONANT]", "[SONANT]"),
        ("[1,2]\tG1\tmale,none\twell [ENS] yes [*]", "well [ENS] yes [*]"),
        ("[1,2]\t0\tnone\t[SYSTEM]", "[SYSTEM]"),
        ("[1,2]\tG1\t女,普通话\t对啊，那个", "对啊，那个"),
    ],
)
def test_separators_tags_and_missing_text(tmp_path, line, text):
    conversation, issues = transcript(tmp_path, line + "\n")
    assert lines_of(conversation) == [(16_000, 32_000, text, 1)]
    assert issues == []


def test_times_in_milliseconds_are_noted(tmp_path):
    conversation, _ = transcript(
        tmp_path, "[500,4422]\tG1\tmale,none\tguess what\n[7008,7358]\tG1\tmale,none\tmm hmm\n"
    )
    assert [line[:2] for line in lines_of(conversation)] == [(8_000, 70_752), (112_128, 117_728)]
    assert "its times are milliseconds" in [issue.reason for issue in conversation.issues]


def test_long_lines_in_whole_seconds_are_seconds(tmp_path):
    conversation, _ = transcript(tmp_path, "[0,10]\tG1\tmale,none\tso\n[20,50]\tG1\tmale,none\tguess what\n")
    assert [line[:2] for line in lines_of(conversation)] == [(0, 160_000), (320_000, 800_000)]


@pytest.mark.parametrize("bom", [b"", codecs.BOM_UTF8])
@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
@pytest.mark.parametrize("last", [True, False])
def test_reads_bom_any_newline_and_no_last_newline(tmp_path, bom, newline, last):
    lines = ["[0,1]\tG1\tmale,none\tcafé".encode(), b"", "[2,3]\tG1\tmale,none\t„ja“".encode()]
    conversation, issues = transcript(tmp_path, bom + newline.join(lines) + (newline if last else b""))
    assert lines_of(conversation) == [(0, 16_000, "café", 1), (32_000, 48_000, "„ja“", 3)]
    assert issues == []


def test_lines_are_sorted_by_start(tmp_path):
    conversation, issues = transcript(tmp_path, "[5,6] G1 m c\n[1,2] G1 m a\n[3,4] G1 m b\n")
    assert [u[2:] for u in lines_of(conversation)] == [("a", 2), ("b", 3), ("c", 1)]
    assert issues == []


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("hello", "not '[start,end] speaker gender text': 'hello'"),
        ("[1,2]", "not '[start,end] speaker gender text': '[1,2]'"),
        ("[1,2] G1", "not '[start,end] speaker gender text': '[1,2] G1'"),
        ("[1-2] G1 m hi", "not '[start,end] speaker gender text': '[1-2] G1 m hi'"),
        ("[1,2,3] G1 m hi", "not '[start,end] speaker gender text': '[1,2,3] G1 m hi'"),
        ("x" * 60, f"not '[start,end] speaker gender text': '{'x' * 40}…'"),
        ("[2,1] G1 m hi", "starts at 2, which is not before its end at 1"),
        ("[1,1] G1 m hi", "starts at 1, which is not before its end at 1"),
        ("[1.00001,1.00002] G1 m hi", "starts at 1.00001, which is not before its end at 1.00002"),
        ("[-1,1] G1 m hi", "-1 is a negative time"),
        ("[-0.00006,1] G1 m hi", "-0.00006 is a negative time"),
        ("[a,1] G1 m hi", "'a' is not a number of seconds"),
        ("[1,] G1 m hi", "'' is not a number of seconds"),
        ("[nan,1] G1 m hi", "'nan' is not a number of seconds"),
        ("[1,inf] G1 m hi", "'inf' is not a number of seconds"),
        ("[1/3,1] G1 m hi", "'1/3' is not a number of seconds"),
        ("[1_0,20] G1 m hi", "'1_0' is not a number of seconds"),
        ("[1,1e99999999] G1 m hi", "'1e99999999' is not a number of seconds"),
        ("[1,0:02] G1 m hi", "'0:02' is not a number of seconds"),
        ("[١,٢] G1 m hi", "'١' is not a number of seconds"),
        (b"[1,2] G1 m \xed\xa0\x80", "not UTF-8: '[1,2] G1 m \ufffd\ufffd\ufffd'"),
    ],
)
def test_skips_a_bad_line_and_keeps_the_others(tmp_path, line, reason):
    raw = line if isinstance(line, bytes) else line.encode()
    conversation, issues = transcript(tmp_path, b"[10,11] G1 m before\n" + raw + b"\n[20,21] G1 m after\n")
    assert [u[2] for u in lines_of(conversation)] == ["before", "after"]
    assert issues == [Issue("skipped", tmp_path / "TXT" / "A1_S1_G1.txt", 2, reason)]


def test_skips_lines_with_nul_bytes_and_binary_files(tmp_path):
    good = b"".join(b"[%d,%d] G1 m something that is said\n" % (n, n + 1) for n in range(10))
    conversation, issues = transcript(tmp_path / "a", good + b"[20,21] G1 m h\0i\n")
    assert len(lines_of(conversation)) == 10
    assert [(s.line, s.reason) for s in skipped(issues)] == [(11, r"holds NUL bytes: '[20,21] G1 m h\x00i'")]
    conversation, issues = transcript(tmp_path / "b", good + bytes(1000))
    assert [t.speaker_id for t in conversation.tracks] == ["G2", "G3"]
    assert [(s.line, s.reason) for s in skipped(issues)] == [(None, "not text (binary); the track is left out")]


@pytest.mark.parametrize(
    ("encoding", "name"), [("gbk", "GBK"), ("utf-16", "UTF-16"), ("utf-16-le", "UTF-16"), ("gb18030", "GBK")]
)
def test_other_encodings_are_detected_and_noted(tmp_path, encoding, name):
    text = "[1.000,2.400]\tG1\t女,普通话\t我坐了夜班车\n"
    conversation, issues = transcript(tmp_path, text.encode(encoding))
    assert [u.text for u in conversation.tracks[0].utterances] == ["我坐了夜班车"]
    assert [(s.level, s.line, s.reason) for s in issues] == [("note", None, f"read as {name}, because it is not UTF-8")]


@pytest.mark.parametrize(
    "times",
    [
        "[1.500,62.250]",
        "［1.500，62.250］",
        "[1.5;62.25]",
        "[1,500,62,250]",
        "[1,500, 62,250]",
        "[00:00:01.500,0:01:02.25]",
    ],
)
def test_notations_of_times(tmp_path, times):
    conversation, issues = transcript(tmp_path, f"{times}\tG1\tmale,none\tcosts 1,5 to [2,5,3,5]\n")
    assert lines_of(conversation) == [(24_000, 996_000, "costs 1,5 to [2,5,3,5]", 1)]
    assert issues == []


def test_transcript_of_both_speakers_is_read_by_its_column(tmp_path):
    both = "[1,2] G1 m so I took the night bus\n[3,4] G2 f oh really\n[5,6] G2 f no\n[7,8] G1 m yes\n"
    conversation, issues = transcript(tmp_path, both)
    assert [u.text for u in conversation.tracks[0].utterances] == ["so I took the night bus", "yes"]
    reason = "the transcript of G1 has lines of G2; they are left out (on 2 lines; this is the first)"
    assert [(s.level, s.line, s.reason) for s in issues] == [("note", 2, reason)]


@pytest.mark.parametrize(
    "lines",
    [
        "[1,2]\tG1\tso I took the night bus\n[4,5]\tG1\tyes and it stopped\n",
        "[1,2] G1 so I took the night bus\n[4,5] G1 yes and it stopped\n",
        "[1,2]\tG1\tso I took the night bus\n",
        "[1,2]\tG1\tnone of it\n[4,5]\tG1\tI took the bus\n[6,7]\tG1\tyes\n",
    ],
)
def test_without_gender_column_the_text_is_whole(tmp_path, lines):
    conversation, issues = transcript(tmp_path, lines)
    texts = [line.split(maxsplit=2)[2] for line in lines.splitlines()]
    assert [u.text for u in conversation.tracks[0].utterances] == texts
    assert issues == []


def test_notes_a_different_speaker_column_once(tmp_path):
    conversation, issues = transcript(tmp_path, "[0,1] G1 m a\n[2,3] G9 m b\n[4,5] G9 m c\n[6,7] 0 none d\n")
    assert [u[2] for u in lines_of(conversation)] == ["a", "b", "c", "d"]
    assert [(s.level, s.line, s.reason) for s in issues] == [
        ("note", 2, "the speaker column has 'G9'; the file name takes precedence (on 2 lines; this is the first)"),
        ("note", 4, "the speaker column has '0'; the file name takes precedence"),
    ]


def test_notes_an_unknown_value_of_the_gender_column(tmp_path):
    conversation, issues = transcript(tmp_path, "[0,1] G1 w,x there\n[2,3] G1 w,x again\n[4,5] G1 w,x then\n")
    assert [u[2] for u in lines_of(conversation)] == ["there", "again", "then"]
    assert [(s.level, s.line, s.reason) for s in issues] == [
        ("note", 1, "'w,x' was read as the gender column (on 3 lines; this is the first)")
    ]


# --- read: order of time


def test_shortens_the_earlier_line_of_a_small_overlap(tmp_path):
    conversation, issues = transcript(tmp_path, "[0,2] G1 m a\n[1.5,2.5] G1 m b\n")
    assert lines_of(conversation) == [(0, 24_000, "a", 1), (24_000, 40_000, "b", 2)]
    assert [(s.level, s.line, s.reason) for s in issues] == [
        ("note", 1, "its end is moved to 1.500, where line 2 starts")
    ]


@pytest.mark.parametrize(
    ("second", "overlap"),
    [("[1.499,2.5]", "0.501"), ("[0.5,1.5]", "1.000"), ("[0,2.5]", "2.000")],  # 0.501 is just over half of 1.001
)
def test_skips_the_later_line_of_a_large_overlap(tmp_path, second, overlap):
    conversation, issues = transcript(tmp_path, f"[0,2] G1 m a\n{second} G1 m b\n[9,10] G1 m c\n")
    assert [u[2] for u in lines_of(conversation)] == ["a", "c"]
    assert [(s.level, s.line, s.reason) for s in issues] == [("skipped", 2, f"overlaps line 1 by {overlap} s")]


def test_skips_a_repeated_line(tmp_path):
    conversation, issues = transcript(tmp_path, "[0,1] G1 m a\n[0,1.0] G1 m a\n[1,2] G1 m a\n")
    assert [u[3] for u in lines_of(conversation)] == [1, 3]
    assert [(s.level, s.line, s.reason) for s in issues] == [("skipped", 2, "repeats line 1")]


def test_line_without_words_yields_to_speech(tmp_path):
    conversation, issues = transcript(
        tmp_path, "[0,10] G1 m [ENS]\n[2,4] G1 m hello\n[3.9,4.5] G1 m [*]\n[6,8] G1 m [SONANT]\n[6,7] G1 m you\n"
    )
    assert lines_of(conversation) == [
        (0, 32_000, "[ENS]", 1),
        (32_000, 64_000, "hello", 2),
        (96_000, 112_000, "you", 5),
    ]
    assert [(s.level, s.line, s.reason) for s in issues] == [
        ("note", 1, "its end is moved to 2.000, where line 2 starts"),
        ("skipped", 3, "overlaps line 2 by 0.100 s"),
        ("skipped", 4, "has no words, and line 5 starts with it"),
    ]


# --- read: whole files


@pytest.mark.parametrize("content", [b"", b"\n\n", codecs.BOM_UTF8, b" \r\n\t\r\n"])
def test_empty_transcript_is_a_silent_speaker(tmp_path, content):
    conversation, issues = transcript(tmp_path, content)
    assert [t.speaker_id for t in conversation.tracks] == ["G1", "G2", "G3"]
    assert conversation.tracks[0].utterances == ()
    assert [(s.level, s.line, s.reason) for s in issues] == [
        ("note", None, "empty; its speaker is treated as silent throughout")
    ]


def test_unreadable_lines_only_leave_the_track_out(tmp_path):
    conversation, issues = transcript(tmp_path, "1\n00:00:01 --> 00:00:02\nhello\n")
    assert [t.speaker_id for t in conversation.tracks] == ["G2", "G3"]
    assert [s.line for s in skipped(issues)] == [None, 1, 2, 3]
    assert issues[0].reason == "none of its 3 lines can be read; the track is left out"


def test_session_with_one_readable_speaker_is_an_error(tmp_path):
    pair(tmp_path)
    (tmp_path / "TXT" / "A1_S1_G1.txt").write_text("hello\n")
    with pytest.raises(
        InputError, match=r"A1_S1: fewer than two speakers can be read: .*A1_S1_G1.txt: none of its 1 line can be read"
    ):
        read(scan(tmp_path).sessions[0])


def test_unreadable_transcript_leaves_the_track_out(tmp_path):
    pair(tmp_path)
    files = scan(corpus(tmp_path, "A1_S1_G3")).sessions[0]
    # A folder in place of the file, because permissions do not stop root.
    (tmp_path / "TXT" / "A1_S1_G1.txt").unlink()
    (tmp_path / "TXT" / "A1_S1_G1.txt").mkdir()
    (tmp_path / "TXT" / "A1_S1_G2.txt").rename(tmp_path / "gone.txt")
    with pytest.raises(InputError, match=r"Is a directory.*No such file"):
        read(files)
    (tmp_path / "gone.txt").rename(tmp_path / "TXT" / "A1_S1_G2.txt")
    conversation = read(files)
    assert [t.speaker_id for t in conversation.tracks] == ["G2", "G3"]
    assert [s.reason for s in skipped(conversation.issues)] == [
        "cannot be read (Is a directory); the track is left out"
    ]


def test_session_with_one_track_is_an_error(tmp_path):
    pair(tmp_path)
    files = scan(tmp_path).sessions[0]
    with pytest.raises(InputError, match="it has only one track"):
        read(SessionFiles("A1_S1", files.tracks[:1]))


# --- read: word times


def test_word_times_become_samples_exactly(tmp_path):
    conversation, issues = words_file(tmp_path, b'[["hello", 0.50003125, 1], ["there", 1.0, 1.5], ["so", 1.0, 1.0]]')
    assert conversation.tracks[0].words == (
        TimedWord("hello", 8_001, 16_000),
        TimedWord("there", 16_000, 24_000),
        TimedWord("so", 16_000, 16_000),
    )
    assert conversation.tracks[1].words is None
    assert issues == []


def test_word_times_accept_bom_and_small_exponents(tmp_path):
    conversation, issues = words_file(tmp_path, codecs.BOM_UTF8 + b'[["a", 6.25e-05, 1]]')
    assert conversation.tracks[0].words == (TimedWord("a", 1, 16_000),)
    assert issues == []


def test_word_without_times_is_left_out(tmp_path):
    conversation, issues = words_file(tmp_path, [["in", 0, 1], ["2019", None, None], ["we", 2, 3]])
    assert [word.text for word in conversation.tracks[0].words] == ["in", "we"]
    assert issues == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not JSON"),
        (b"[[", "not JSON"),
        (b'[["\xff", 0, 1]]', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        ({"words": []}, "not a list of [word, start, end]"),
        ([["a", 0]], "entry 1: not [word, start, end]"),
        ([["a", 0, 1], "b"], "entry 2: not [word, start, end]"),
        ([[0, 1, "a"]], "entry 1: not [word, start, end]"),
        ([["a", "0", "1"]], "entry 1: not [word, start, end]"),
        ([["a", None, True]], "entry 1: not [word, start, end]"),
        ([[" ", 0, 1]], "entry 1: not [word, start, end]"),
        (b'[["\\ud800", 0, 1]]', "entry 1: not [word, start, end]"),
        ([["a", 1, 0.5]], "entry 1: ends at 0.5, before it starts at 1"),
        ([["a", -1, 0.5]], "entry 1: -1 is a negative time"),
        (b'[["a", NaN, 1]]', "entry 1: 'NaN' is not a number of seconds"),
        (b'[["a", 0, 1e400]]', "entry 1: '1e400' is not a number of seconds"),
        ([["a", 0, 1e300]], "entry 1: '1e+300' is not a number of seconds"),
        (b'[["a", 0, ' + b"9" * 5000 + b"]]", f"entry 1: '{'9' * 40}…' is not a number of seconds"),
        ([["b", 1, 2], ["a", 0, 1]], "entry 2: starts before the entry before it"),
    ],
)
def test_reports_broken_word_times(tmp_path, content, reason):
    conversation, issues = words_file(tmp_path, content)
    assert conversation.tracks[0].words is None
    assert len(conversation.tracks[0].utterances) == 1
    assert [(s.path.name, s.line) for s in skipped(issues)] == [("A1_S1_G1.json", None)]
    assert issues[0].reason.startswith(reason)
    assert issues[0].reason.endswith("; the word times of this track are not used")


def test_reports_unreadable_word_times(tmp_path):
    pair(tmp_path)
    (tmp_path / "WORDS").mkdir()
    (tmp_path / "WORDS" / "A1_S1_G1.json").write_text("[]")
    files = scan(tmp_path).sessions[0]
    (tmp_path / "WORDS" / "A1_S1_G1.json").unlink()
    conversation = read(files)
    assert conversation.tracks[0].words is None
    assert [s.reason for s in skipped(conversation.issues)] == [
        "cannot be read (No such file or directory); the word times of this track are not used"
    ]
