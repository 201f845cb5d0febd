"""The MagicHub multi-stream layout: a recording and a transcript a speaker, on one time line.

    ROOT/WAV/A0001_S0001_0_G0001.wav     (or .flac) what one speaker says; the name is SESSION_SPEAKER
    ROOT/TXT/A0001_S0001_0_G0001.txt     [start,end] speaker gender text, in seconds, one utterance a line
    ROOT/WORDS/A0001_S0001_0_G0001.json  optional: [[word, start, end], ...], in seconds

`scan` looks at file names only, `read` at the text of one session, nothing here at audio: whether a time lies inside
the recording is the builder's question. What is left out is reported, with file, line and reason; what is kept but is
not as it should be is reported with a reason that starts with `KEPT`.
"""

import json
import os
import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from sca.data.corpora.base import WHOLE, Conversation, Part, Skipped, TimedWord, Track, Utterance
from sca.errors import InputError
from sca.textutil import counted
from sca.units import HEARD_HZ, seconds_to_samples

__all__ = ["KEPT", "Scan", "SessionFiles", "TrackFiles", "read", "scan"]

KEPT = "kept: "
"""How the reason of a report starts when nothing was left out."""

_AUDIO = (".wav", ".flac")  # the first of two that share a name is taken
_EXPECTED = "expected ROOT/WAV/SESSION_SPEAKER.wav (or .flac) and ROOT/TXT/SESSION_SPEAKER.txt"
_LINE = re.compile(r"\[([^\[\],]*),([^\[\],]*)\](.*)", re.DOTALL)
_TAG = re.compile(r"\[/?[A-Z][A-Z0-9_/ -]*\]")  # [*] and [+] hold no letters anyway
# What `seconds_to_samples` can be trusted with: no fractions, no underscores, no exponent that fills the memory.
_SECONDS = re.compile(r"[+-]?(?:[0-9]{1,9}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(?:[eE]-[0-9]{1,2})?")
_NOBODY = {"0", "none", "system"}  # the speaker column of lines such as [SYSTEM], which belong to no one
_GENDERS = {"male", "female", "m", "f", "none", "unknown", "男", "女", "无"}


class TrackFiles(NamedTuple):
    """The files of one speaker of a session. part, origin, no transcript: see `Track`; corpora of this layout have whole files."""

    speaker_id: str
    audio: Path
    transcript: Path | None
    words: Path | None
    part: Part = WHOLE
    origin: Path | None = None


@dataclass(frozen=True, slots=True)
class SessionFiles:
    """The files of a session, two or more tracks sorted by speaker."""

    session_id: str
    tracks: tuple[TrackFiles, ...]


@dataclass(frozen=True, slots=True)
class Scan:
    """What a corpus holds by its file names: sessions sorted by id, and what could not be one."""

    sessions: tuple[SessionFiles, ...]
    skipped: tuple[Skipped, ...]


def scan(root: Path) -> Scan:
    """Find the sessions of a corpus. Raises `InputError` when `root` is no such corpus or cannot be listed."""
    try:
        return _scan(root)
    except OSError as error:
        raise InputError(f"cannot read {error.filename or root}: {error.strerror or error}") from error


def read(files: SessionFiles) -> tuple[Conversation, tuple[Skipped, ...]]:
    """Read the transcripts and word times of one session.

    A track whose transcript cannot be read is left out: silence is not what its speaker said. Raises `InputError`, with
    the reports so far in its message, when fewer than two tracks are left.
    """
    tracks: list[Track] = []
    skipped: list[Skipped] = []
    for speaker_id, audio, transcript, words, part, origin in files.tracks:
        if transcript is None:
            tracks.append(Track(speaker_id, audio, None, (), None, part, origin))
            continue
        utterances, reports = _read_transcript(transcript, speaker_id)
        skipped += sorted(reports, key=lambda report: report.line or 0)
        if utterances is None:
            continue
        timed = None
        if words is not None:
            try:
                timed = _read_words(words)
            except ValueError as error:
                skipped.append(Skipped(words, None, f"{error}; the word times of this track are not used"))
        tracks.append(Track(speaker_id, audio, transcript, utterances, timed, part, origin))
    if len(tracks) < 2:
        why = "; ".join(str(report) for report in skipped if report.line is None and not report.reason.startswith(KEPT))
        raise InputError(f"session {files.session_id}: fewer than two speakers can be read: {why or 'it has no other'}")
    return Conversation(files.session_id, tuple(tracks)), tuple(skipped)


def _scan(root: Path) -> Scan:
    folders = {name: _subfolder(root, name) for name in ("WAV", "TXT", "WORDS")}
    wav, txt = folders["WAV"], folders["TXT"]
    if wav is None or txt is None:
        missing = " and ".join(name for name in ("WAV", "TXT") if folders[name] is None)
        what = f"{root} has no {missing} folder" if root.is_dir() else f"there is no folder {root}"
        raise InputError(what, hint=_hint(root))
    skipped: list[Skipped] = []
    audio = _tracks_in(wav, _AUDIO, skipped)
    if not audio and not skipped:
        raise InputError(f"{wav} has no .wav or .flac files", hint=_EXPECTED)
    texts = _tracks_in(txt, (".txt",), skipped)
    words = _tracks_in(folders["WORDS"], (".json",), skipped) if folders["WORDS"] is not None else {}
    sessions: dict[str, list[TrackFiles]] = {}
    for key in sorted(audio.keys() & texts.keys()):
        sessions.setdefault(key[0], []).append(TrackFiles(key[1], audio[key], texts[key], words.get(key)))
    skipped += [Skipped(audio[key], None, "no transcript of that name in TXT") for key in audio.keys() - texts.keys()]
    skipped += [Skipped(texts[key], None, "no recording of that name in WAV") for key in texts.keys() - audio.keys()]
    orphans = words.keys() - (audio.keys() & texts.keys())
    skipped += [Skipped(words[key], None, "word times without a recording and a transcript") for key in orphans]
    alone = [tracks[0] for tracks in sessions.values() if len(tracks) == 1]
    skipped += [
        Skipped(track.audio, None, "the only speaker of its session; a conversation needs two") for track in alone
    ]
    found = (SessionFiles(name, tuple(tracks)) for name, tracks in sessions.items() if len(tracks) > 1)
    return Scan(tuple(found), tuple(sorted(skipped, key=lambda report: (str(report.path), report.reason))))


def _subfolder(root: Path, name: str) -> Path | None:
    """The folder `name` of `root`, in whatever case it is written; the exact spelling wins."""
    if not root.is_dir():
        return None
    if (root / name).is_dir():
        return root / name
    return next((path for path in sorted(root.iterdir()) if path.name.upper() == name and path.is_dir()), None)


def _is_corpus(folder: Path) -> bool:
    try:
        return _subfolder(folder, "WAV") is not None and _subfolder(folder, "TXT") is not None
    except OSError:  # only a hint depends on it
        return False


def _hint(root: Path) -> str:
    """Where the corpus probably is: people give its WAV folder, or the folder they unpacked the archive into."""
    above = root.absolute().parent
    if root.absolute().name.upper() in ("WAV", "TXT", "WORDS") and _is_corpus(above):
        return f"give the folder that holds it: {above}"
    inside = [path for path in sorted(root.iterdir()) if path.is_dir() and _is_corpus(path)] if root.is_dir() else []
    if len(inside) == 1:
        return f"the corpus seems to be {inside[0]}"
    if inside:
        return f"it holds {len(inside)} corpora; give one of them, for example {inside[0]}"
    return _EXPECTED


def _tracks_in(folder: Path, suffixes: Sequence[str], skipped: list[Skipped]) -> dict[tuple[str, str], Path]:
    """The files of a folder by (session, speaker); what has the right ending and cannot be used goes to `skipped`."""
    found: dict[tuple[str, str], Path] = {}
    with os.scandir(folder) as entries:
        files = [(entry.name, _is_file(entry)) for entry in entries if _suffix(entry.name) in suffixes]
    for name, is_file in sorted(files, key=lambda file: (suffixes.index(_suffix(file[0])), file[0])):
        path = folder / name
        session, _, speaker = os.path.splitext(name)[0].rpartition("_")  # noqa: PTH122 - see _suffix
        if not _is_text(name):
            skipped.append(Skipped(folder, None, f"the file name {name!a} is not UTF-8"))
        elif not session or not speaker:
            skipped.append(Skipped(path, None, "the name is not SESSION_SPEAKER: no '_' with something on both sides"))
        elif not is_file:
            skipped.append(Skipped(path, None, "not a file, or a link to nothing"))
        elif (session, speaker) in found:
            used = found[session, speaker].name
            skipped.append(Skipped(path, None, f"the same session and speaker as {used}, which is used"))
        else:
            found[session, speaker] = path
    return found


def _suffix(name: str) -> str:
    """The ending of a file name in lower case; none for a hidden one, such as macOS's `._x.wav`."""
    # A corpus may have a million names, and a Path for each is slow.
    return "" if name.startswith(".") else os.path.splitext(name)[1].lower()  # noqa: PTH122


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link that leads in circles, or to where we may not look
        return False


def _is_text(value: str) -> bool:
    """Whether a string can be written as UTF-8; what was not UTF-8 when it was read comes as lone surrogates."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read_transcript(path: Path, speaker_id: str) -> tuple[tuple[Utterance, ...] | None, list[Skipped]]:
    """The lines of a transcript and the reports on it; None in place of lines when the track cannot be used."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        return None, [Skipped(path, None, f"cannot be read ({error.strerror or error}); the track is left out")]
    if raw.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) or raw.count(0) * 100 > len(raw):
        return None, [Skipped(path, None, "not UTF-8 text (UTF-16, or binary); the track is left out")]
    text = raw.decode("utf-8-sig", errors="surrogateescape")  # so that one bad byte costs its line and no more
    lines = [(number, line.strip()) for number, line in enumerate(re.split(r"\r\n|\n|\r", text), 1) if line.strip()]
    if not lines:
        return (), [Skipped(path, None, f"{KEPT}empty; its speaker is taken to be silent throughout")]
    parsed: list[Utterance] = []
    reports: list[Skipped] = []
    notices: defaultdict[str, list[int]] = defaultdict(list)
    for number, line in lines:
        try:
            start, end, speaker, gender, content = _columns(line)
        except ValueError as error:
            reports.append(Skipped(path, number, str(error)))
            continue
        parsed.append(Utterance(start, end, content, number))
        for notice in _odd_columns(speaker, gender, content, speaker_id):
            notices[notice].append(number)
    for notice, where in notices.items():  # a column that is wrong is wrong on every line: one report says it
        more = f" (on {len(where)} lines; this is the first)" if len(where) > 1 else ""
        reports.append(Skipped(path, where[0], f"{KEPT}{notice}{more}"))
    if not parsed:
        reports.append(
            Skipped(path, None, f"none of its {counted(len(lines), 'line')} can be read; the track is left out")
        )
        return None, reports
    utterances, moved = _without_overlap(parsed)
    return utterances, reports + [Skipped(path, number, reason) for number, reason in moved]


def _columns(line: str) -> tuple[int, int, str, str | None, str]:
    """Start, end (in samples), speaker, gender and text of a line. Raises `ValueError` with what is wrong with it.

    Gender is None where only tabs could tell that the column is empty, and they do.
    """
    if not _is_text(line):
        raise ValueError(f"not UTF-8: {_excerpt(line.encode(errors='surrogateescape').decode(errors='replace'))}")
    if "\0" in line:
        raise ValueError(f"holds NUL bytes: {_excerpt(line)}")
    match = _LINE.fullmatch(line)
    rest = match[3].strip() if match else ""
    if match is None or len(rest.split(maxsplit=2)) < 2:
        raise ValueError(f"not '[start,end] speaker gender text': {_excerpt(line)}")
    start, end = _samples(match[1].strip()), _samples(match[2].strip())
    if start >= end:
        raise ValueError(f"starts at {match[1].strip()}, which is not before its end at {match[2].strip()}")
    return start, end, *_speaker_gender_text(rest)


def _speaker_gender_text(rest: str) -> tuple[str, str | None, str]:
    """Split what follows the times. Tabs, where there are enough of them, are surer than spaces."""
    by_tab = [part.strip() for part in re.split(r"\t+", rest)]
    if len(by_tab[0].split()) == 1:
        if len(by_tab) > 2:
            return by_tab[0], by_tab[1], " ".join(by_tab[2:])
        if len(by_tab) == 2 and "\t\t" in rest and not _is_gender(by_tab[1]):
            return by_tab[0], None, by_tab[1]
    speaker, gender, *text = rest.split(maxsplit=2)
    return speaker, gender, "".join(text)


def _odd_columns(speaker: str, gender: str | None, text: str, speaker_id: str) -> list[str]:
    """What is odd about a line that is kept, in words that are the same for every such line of a file."""
    notices = []
    if speaker != speaker_id and (_has_words(text) or speaker.casefold() not in _NOBODY):
        notices.append(f"the speaker column says {_excerpt(speaker)}; the file name wins")
    if gender is not None and not _is_gender(gender):
        notices.append(f"{_excerpt(gender)} was taken for the gender column")
    return notices


def _is_gender(column: str) -> bool:
    return column.partition(",")[0].strip().casefold() in _GENDERS


def _has_words(text: str) -> bool:
    return any(character.isalnum() for character in _TAG.sub(" ", text))


def _excerpt(text: str) -> str:
    """The start of a text for a message, on one line whatever it holds."""
    return repr(text if len(text) <= 40 else text[:40] + "…")


def _samples(seconds: str) -> int:
    """The sample at 16 kHz nearest to a decimal number, exactly. Raises `ValueError` for anything else."""
    if not _SECONDS.fullmatch(seconds):
        raise ValueError(f"{_excerpt(seconds)} is not a number of seconds")
    samples = seconds_to_samples(seconds, HEARD_HZ)
    if samples < 0:
        raise ValueError(f"{seconds} is a negative time")
    return samples


def _without_overlap(lines: list[Utterance]) -> tuple[tuple[Utterance, ...], list[tuple[int, str]]]:
    """Lines by start, none over the next, and (line, reason) for each change: a speaker's words must have one order.

    A small overlap (up to half of the shorter line) is a boundary drawn carelessly: the earlier line ends where the
    later one starts. With a larger one there is no telling which words come first: the later line goes. A line without
    words ([SONANT] and the like) always yields to one with words.
    """
    kept: list[Utterance] = []
    reports: list[tuple[int, str]] = []
    seen: dict[tuple[int, int, str], int] = {}
    for line in sorted(lines, key=lambda line: line.start):
        first = seen.setdefault((line.start, line.end, line.text), line.line)
        if first != line.line:
            reports.append((line.line, f"repeats line {first}"))
            continue
        before = kept[-1] if kept else None
        if before is None or before.end <= line.start:
            kept.append(line)
            continue
        overlap = min(before.end, line.end) - line.start
        shorter = min(before.end - before.start, line.end - line.start)
        yields = _has_words(line.text) and not _has_words(before.text)
        if not yields and (overlap * 2 > shorter or not _has_words(line.text)):
            reports.append((line.line, f"overlaps line {before.line} by {overlap / HEARD_HZ:.3f} s"))
            continue
        kept.pop()
        if before.start < line.start:
            kept.append(replace(before, end=line.start))
            reports.append(
                (before.line, f"{KEPT}its end is moved to {line.start / HEARD_HZ:.3f}, where line {line.line} starts")
            )
        else:
            reports.append((before.line, f"has no words, and line {line.line} starts with it"))
        kept.append(line)
    return tuple(kept), reports


@dataclass(frozen=True, slots=True)
class _Literal:
    """A number of a JSON document as it is written: its decimals are exact, a float's are not."""

    text: str


def _read_words(path: Path) -> tuple[TimedWord, ...]:
    """The word times of a track. Raises `ValueError` with the first thing that is wrong with them."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
        document = json.loads(text, parse_float=_Literal, parse_int=_Literal, parse_constant=_Literal)
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON ({error})") from error
    if not isinstance(document, list):
        raise ValueError("not a list of [word, start, end]")
    words: list[TimedWord] = []
    for number, entry in enumerate(document, 1):
        try:
            words.append(_word(entry))
        except ValueError as error:
            raise ValueError(f"entry {number}: {error}") from error
        if len(words) > 1 and words[-1].start < words[-2].start:
            raise ValueError(f"entry {number}: starts before the entry before it")
    return tuple(words)


def _word(entry: object) -> TimedWord:
    match entry:
        case [str(word), _Literal(first), _Literal(last)] if word.strip() and _is_text(word):
            start, end = _samples(first), _samples(last)
            if end < start:
                raise ValueError(f"ends at {last}, before it starts at {first}")
            return TimedWord(word.strip(), start, end)
    raise ValueError("not [word, start, end]")
