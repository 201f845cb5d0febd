"""For any corpus, the reader does not fail, accounts for every line and file, and keeps times in order."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sca.data.corpora.base import Conversation, Issue
from sca.data.corpora.magichub import read, scan
from sca.errors import InputError
from sca.units import HEARD_HZ, seconds_to_samples

# No deadline: file systems are slow at times, and time is not what is tested.
FILES = settings(deadline=None, max_examples=150)

# Pieces of almost valid lines, so that every check finds something to reject.
SHORT = [*"[],. \t-+0159eé女\n\r\0\ufeff\u2028\x1c"]
LONG = ["\r\n", "[1,2]", "[3.5,4]", "\tG1\tmale,none\t", " G1 m ", "[SONANT]", "[*]", "hello", "word ", "nan", "1e9"]
LINES = ["[0,10] G1 m hi\n", "[2,3]\t0\tnone\t[ENS]\n"]
PIECES = st.sampled_from(SHORT + LONG + LINES)
NEARLY = st.lists(PIECES, max_size=60).map("".join).map(str.encode)
BYTES = st.binary(max_size=300)


@contextmanager
def corpus(transcript: bytes, words: bytes | None = None) -> Iterator[Path]:
    """Write a corpus of three speakers, G1 with the given files, so that two remain if G1 is left out."""
    with TemporaryDirectory() as folder:
        root = Path(folder)
        for name in ("WAV", "TXT", "WORDS"):
            (root / name).mkdir()
        for speaker in ("G1", "G2", "G3"):
            (root / "WAV" / f"A_S_{speaker}.wav").touch()
            (root / "TXT" / f"A_S_{speaker}.txt").write_bytes(transcript if speaker == "G1" else b"[0,1] G m hi")
        if words is not None:
            (root / "WORDS" / "A_S_G1.json").write_bytes(words)
        yield root


def read_first(root: Path) -> tuple[Conversation, list[Issue]]:
    conversation = read(scan(root).sessions[0])
    return conversation, [issue for issue in conversation.issues if issue.path.stem == "A_S_G1"]


def is_about_empty_file(issue: Issue) -> bool:
    return issue.level == "note" and issue.reason.startswith("empty")


@FILES
@given(st.one_of(NEARLY, BYTES, st.tuples(NEARLY, BYTES, NEARLY).map(b"".join)))
def test_every_line_is_an_utterance_or_an_issue(raw):
    with corpus(raw) as root:
        conversation, issues = read_first(root)
    by_speaker = {track.speaker_id: track for track in conversation.tracks}
    assert {"G2", "G3"} <= by_speaker.keys()
    left_out = any(s.line is None and s.level == "skipped" for s in issues)
    assert left_out == ("G1" not in by_speaker)
    if any("binary" in s.reason or "read as" in s.reason for s in issues if s.line is None):
        return
    text = raw.decode("utf-8-sig", errors="replace")
    filled = {n for n, line in enumerate(re.split("\r\n|\r|\n", text), 1) if line.strip()}
    utterances = by_speaker["G1"].utterances if "G1" in by_speaker else ()
    kept = {u.line for u in utterances}
    dropped = {s.line for s in issues if s.line is not None and s.level == "skipped"}
    assert kept | dropped == filled
    assert not kept & dropped
    assert bool(filled) == (not any(is_about_empty_file(s) for s in issues))


@FILES
@given(NEARLY)
def test_utterances_are_ordered_disjoint_and_printable(raw):
    with corpus(raw) as root:
        conversation, issues = read_first(root)
    for track in conversation.tracks:
        ends = [0, *(u.end for u in track.utterances)]
        assert all(end <= u.start < u.end for end, u in zip(ends, track.utterances, strict=False))
        assert all("\0" not in u.text and u.text == u.text.strip() for u in track.utterances)
        "".join(u.text for u in track.utterances).encode()
    "".join(map(str, issues)).encode()
    assert all("\n" not in str(s) for s in issues)


@st.composite
def dialogue(draw: st.DrawFn) -> list[tuple[str, str, str]]:
    """Lines (start, end, text) one after the other, times as decimal text."""
    lines, at = [], 0
    for _ in range(draw(st.integers(0, 8))):
        start = at + draw(st.integers(0, 2000))
        at = start + draw(st.integers(1, 5000))
        text = " ".join(
            draw(st.lists(st.sampled_from(["hello", "[SONANT]", "żółć", "we're", "[*]", "你好"]), max_size=4))
        )
        lines.append((f"{start / 1000:.3f}", f"{at / 1000:.4f}", text))
    return lines


@FILES
@given(dialogue(), st.sampled_from(["\t", " ", "   "]), st.sampled_from(["\n", "\r\n"]), st.booleans(), st.randoms())
def test_reads_what_was_written(lines, separator, newline, bom, random):
    written = list(enumerate(lines))
    random.shuffle(written)
    rows = [separator.join((f"[{start},{end}]", "G1", "female,none", text)) for _, (start, end, text) in written]
    raw = ("\ufeff" if bom else "") + newline.join(rows)
    with corpus(raw.encode()) as root:
        conversation, issues = read_first(root)
    assert [s for s in issues if not is_about_empty_file(s)] == []
    assert [(u.start, u.end, u.text) for u in conversation.tracks[0].utterances] == [
        (seconds_to_samples(start, HEARD_HZ), seconds_to_samples(end, HEARD_HZ), text) for start, end, text in lines
    ]
    places = {place: row for row, (place, _) in enumerate(written, 1)}
    assert [u.line for u in conversation.tracks[0].utterances] == [places[n] for n in range(len(lines))]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=20,
)
ENTRY = st.tuples(st.text(max_size=3), st.floats(-1, 9), st.floats(-1, 9) | st.integers(0, 10**12))


@FILES
@given(
    st.one_of(BYTES, JSON.map(json.dumps).map(str.encode), st.lists(ENTRY, max_size=4).map(json.dumps).map(str.encode))
)
def test_word_times_are_ordered_or_reported(raw):
    with corpus(b"[0,1] G1 m hi", raw) as root:
        conversation, issues = read_first(root)
    words = conversation.tracks[0].words
    assert (words is None) == (len(issues) == 1)
    if words is not None:
        starts = [word.start for word in words]
        assert starts == sorted(starts)
        assert all(0 <= word.start <= word.end and word.text.strip() for word in words)
        json.dumps([word.text for word in words], ensure_ascii=False).encode()


STEMS = st.sampled_from(["A_G1", "A_G2", "A_G3", "B_G1", "B_G2", "C_G1", "_G1", "A_", "x", "a b_ü", "A_1_G1", "A_1_G2"])
NAMES = st.sets(st.tuples(STEMS, st.sampled_from([".wav", ".WAV", ".flac", ".txt", ".mp3", ""])), max_size=16)


@FILES
@given(NAMES, NAMES.map(lambda names: {(stem, ".txt") for stem, _ in names}))
def test_every_file_is_in_a_session_or_reported(recordings, transcripts):
    with TemporaryDirectory() as folder:
        root = Path(folder)
        for name, files in (("WAV", recordings), ("TXT", transcripts)):
            (root / name).mkdir()
            for stem, suffix in files:
                (root / name / f"{stem}{suffix}").touch()
        there = {p for name in ("WAV", "TXT") for p in (root / name).iterdir()}
        there = {p for p in there if p.suffix.lower() in ((".wav", ".flac") if p.parent.name == "WAV" else (".txt",))}
        try:
            found = scan(root)
        except InputError:
            assert not any(p.parent.name == "WAV" for p in there)
            return
    used = {path for talk in found.dialogues for path in (*talk.audio, talk.origin)}
    used |= {path for s in found.sessions for t in s.tracks for path in (t.audio, t.transcript)}
    reported = {s.path for s in found.issues}
    assert used | reported | {root / "TXT" / f"{p.stem}.txt" for p in reported} >= there
    assert not used & reported
    assert all(len(s.tracks) >= 2 for s in found.sessions)
    assert [s.session_id for s in found.sessions] == sorted({s.session_id for s in found.sessions})


LONG_LINES = [
    "[",
    "[,",
    "[1,2]",
    "[ ",
    "[1,2] ",
    "[1,2]\t",
    "[1,2]G ",
    "[1,2] G m [",
    "[1,2] G m [A",
    "[1,2] G\t\t",
    "9",
]


@pytest.mark.parametrize("line", [*LONG_LINES, "[9,9."])
def test_long_lines_take_linear_time(line):
    # 500,000 characters: with anything worse than linear time, in the parser or in the tags, this takes many minutes.
    head, tail = line[:-1], line[-1]
    with corpus((head + tail * 500_000 + "\n" + line * 100_000 + "\n[8,9] G1 m hi").encode()) as root:
        conversation, _ = read_first(root)
    assert "hi" in [u.text for u in conversation.tracks[0].utterances]
