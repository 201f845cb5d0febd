"""The transcripts of the MagicHub layout: lines of `[start,end] speaker gender text`.

Whether a file has the gender column is decided for the file: it has if most of its lines have a known value there, or
all of them the same value. A file may have the lines of both speakers of its session; the speaker column tells them
apart.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from sca.data.corpora.base import Issue, Utterance, encoding_note
from sca.data.corpora.exact_times import excerpt, is_utf8, samples_of
from sca.data.corpora.overlaps import resolve_overlaps
from sca.data.corpora.segments.model import Problem, Segment
from sca.data.corpora.text.encoding import decode_text
from sca.data.corpora.text.tags import has_words
from sca.files.bounded import read_whole
from sca.textutil import counted
from sca.units import HEARD_HZ

__all__ = ["read_dialogue", "read_transcript"]

_LINE = re.compile(r"[\[［]([^\[\],;［］，；]*)[,;，；]([^\[\],;［］，；]*)[\]］](.*)", re.DOTALL)
# Decimal commas: four numbers instead of two.
_DECIMAL_COMMAS = re.compile(r"^[\[［] *([0-9]{1,9}),([0-9]{1,9}), *([0-9]{1,9}),([0-9]{1,9}) *[\]］]")
_CLOCK = re.compile(r"([0-9]{1,3}):([0-5][0-9]):([0-5][0-9])((?:\.[0-9]{1,9})?)")
_NO_SPEAKER = {"0", "none", "system"}  # the speaker column of lines such as [SYSTEM], which belong to no speaker
_GENDERS = {
    *("male", "female", "m", "f", "none", "unknown", "男", "女", "无"),
    *("男性", "女性", "여", "남", "여자", "남자", "여성", "남성"),
}
_FEWEST_LETTERS_A_S = 0.2
_MIN_EQUAL_LINES = 3  # that many lines with one unknown value in the gender column have such a column


class _Line(NamedTuple):
    """A line: its number, its times in samples, and what follows them."""

    number: int
    start: int
    end: int
    rest: str


class _Columns(NamedTuple):
    """The columns after the times; the gender is None if it is missing."""

    speaker: str
    gender: str | None
    text: str


def read_transcript(
    path: Path, speaker_id: str, speakers: Collection[str]
) -> tuple[tuple[Utterance, ...] | None, list[Issue]]:
    """Read the transcript of one speaker.

    Args:
        path: The file.
        speaker_id: The speaker, by the name of the file.
        speakers: All speakers of the session.

    Returns:
        The utterances, or None if the track cannot be used, and the issues.
    """
    try:
        encoding, written = _written(path)
    except ValueError as error:
        return None, [_file_issue(path, f"{error}; the track is left out")]
    issues = [encoding_note(path, encoding)] if encoding is not None else []
    if not written:
        return (), [*issues, Issue("note", path, None, "empty; its speaker is treated as silent throughout")]
    lines, problems = _parsed(written)
    issues += [Issue("skipped", path, number, reason) for number, reason in problems]
    if not lines:
        reason = f"none of its {counted(len(written), 'line')} can be read; the track is left out"
        return None, [*issues, _file_issue(path, reason)]
    if _are_milliseconds(lines):
        lines = [line._replace(start=line.start // 1000, end=line.end // 1000) for line in lines]
        issues.append(Issue("note", path, None, "its times are milliseconds"))
    parsed, notes = _utterances(path, lines, speaker_id, speakers)
    utterances, overlaps = resolve_overlaps(parsed, path)
    return utterances, issues + notes + overlaps


def read_dialogue(path: Path) -> Iterator[Segment | Problem]:
    """Read the transcript of a whole conversation, whose speaker column names the speakers.

    Raises:
        ValueError: The file cannot be read.
    """
    encoding, written = _written(path)
    if encoding is not None:
        yield Problem(None, encoding_note(path, encoding).reason, "note")
    lines, problems = _parsed(written)
    yield from (Problem(number, reason) for number, reason in problems)
    with_gender = _has_gender_column(lines)
    for line in lines:
        columns = _columns(line.rest, with_gender)
        if has_words(columns.text) or columns.speaker.casefold() not in _NO_SPEAKER:
            times = line.start / HEARD_HZ, line.end / HEARD_HZ
            yield Segment(*times, columns.text, columns.speaker, line=line.number)


def _written(path: Path) -> tuple[str | None, list[tuple[int, str]]]:
    """Return the encoding of a file, if it is not UTF-8, and its lines that are not empty, with their numbers.

    Raises:
        ValueError: The file cannot be read; the message is the reason.
    """
    try:
        decoded = decode_text(read_whole(path))
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror or error})") from error
    if decoded is None:
        raise ValueError("not text (binary)")
    numbered = enumerate(re.split(r"\r\n|\n|\r", decoded.text), 1)
    return decoded.encoding, [(number, line.strip()) for number, line in numbered if line.strip()]


def _parsed(written: Iterable[tuple[int, str]]) -> tuple[list[_Line], list[tuple[int, str]]]:
    """Return the lines that can be used, and the numbers of the others with the reasons."""
    lines: list[_Line] = []
    problems: list[tuple[int, str]] = []
    for number, line in written:
        try:
            lines.append(_line(number, line))
        except ValueError as error:
            problems.append((number, str(error)))
    return lines, problems


def _are_milliseconds(lines: Sequence[_Line]) -> bool:
    """Return whether times are milliseconds: as whole seconds, they would leave less than a letter to five seconds."""
    whole = all(line.start % HEARD_HZ == line.end % HEARD_HZ == 0 for line in lines)
    spoken_s = sum(line.end - line.start for line in lines) / HEARD_HZ
    return whole and sum(len(line.rest) for line in lines) < _FEWEST_LETTERS_A_S * spoken_s


def _utterances(
    path: Path, lines: Sequence[_Line], speaker_id: str, speakers: Collection[str]
) -> tuple[list[Utterance], list[Issue]]:
    """Return the speaker's utterances, and notes about what is unexpected in the columns."""
    with_gender = _has_gender_column(lines)
    rows = [(line, _columns(line.rest, with_gender)) for line in lines]
    # Lines of another speaker of the session are theirs, unless the column is wrong throughout.
    both = any(columns.speaker == speaker_id for _, columns in rows)
    others = set(speakers) - {speaker_id} if both else set()
    parsed: list[Utterance] = []
    notes: defaultdict[str, list[int]] = defaultdict(list)
    for line, columns in rows:
        if columns.speaker in others:
            notes[f"the transcript of {speaker_id} has lines of {columns.speaker}; they are left out"].append(
                line.number
            )
            continue
        parsed.append(Utterance(line.start, line.end, columns.text, line.number))
        for note in _odd_columns(columns, speaker_id):
            notes[note].append(line.number)
    issues: list[Issue] = []
    for note, numbers in notes.items():  # a wrong column is wrong on every line, so it is reported once
        more = f" (on {len(numbers)} lines; this is the first)" if len(numbers) > 1 else ""
        issues.append(Issue("note", path, numbers[0], note + more))
    return parsed, issues


def _file_issue(path: Path, reason: str) -> Issue:
    return Issue("skipped", path, None, reason)


def _line(number: int, line: str) -> _Line:
    """Parse the times of a line.

    Raises:
        ValueError: The line cannot be used; the message is the reason.
    """
    if not is_utf8(line):
        raise ValueError(f"not UTF-8: {excerpt(line.encode(errors='surrogateescape').decode(errors='replace'))}")
    if "\0" in line:
        raise ValueError(f"holds NUL bytes: {excerpt(line)}")
    match = _LINE.fullmatch(_DECIMAL_COMMAS.sub(r"[\1.\2,\3.\4]", line, count=1))
    rest = match[3].strip() if match else ""
    if match is None or len(rest.split(maxsplit=2)) < 2:
        raise ValueError(f"not '[start,end] speaker gender text': {excerpt(line)}")
    start, end = _time(match[1].strip()), _time(match[2].strip())
    if start >= end:
        raise ValueError(f"starts at {match[1].strip()}, which is not before its end at {match[2].strip()}")
    return _Line(number, start, end, rest)


def _time(text: str) -> int:
    """Return the sample of a time in seconds or as `hours:minutes:seconds`."""
    if clock := _CLOCK.fullmatch(text):
        return samples_of(f"{int(clock[1]) * 3600 + int(clock[2]) * 60 + int(clock[3])}{clock[4]}")
    return samples_of(text)


def _has_gender_column(lines: Sequence[_Line]) -> bool:
    """Return whether a file has the gender column."""
    columns = [_columns(line.rest, with_gender=True) for line in lines]
    values = [row.gender for row in columns if row.gender is not None and (row.text or not _is_tag(row.gender))]
    if 2 * sum(map(_is_gender, values)) >= len(values):
        return True
    # A column that tabs separate from a text is one, whatever its values are.
    if 2 * sum(bool(row.text) and _tabs(line.rest) > 2 for line, row in zip(lines, columns, strict=True)) > len(lines):
        return True
    return len(values) >= _MIN_EQUAL_LINES and len(set(values)) == 1


def _tabs(rest: str) -> int:
    return len(re.split(r"\t+", rest))


def _columns(rest: str, with_gender: bool) -> _Columns:
    """Split the part after the times. Tabs, if there are enough of them, are more reliable than spaces."""
    by_tab = [part.strip() for part in re.split(r"\t+", rest)]
    if not with_gender:
        speaker, text = rest.split(maxsplit=1)
        return _Columns(speaker, None, text)
    if len(by_tab[0].split()) == 1:
        if len(by_tab) > 2:
            return _Columns(by_tab[0], by_tab[1], " ".join(by_tab[2:]))
        if len(by_tab) == 2 and "\t\t" in rest and not _is_gender(by_tab[1]):
            return _Columns(by_tab[0], None, by_tab[1])
    speaker, gender, *text_parts = rest.split(maxsplit=2)
    return _Columns(speaker, gender, "".join(text_parts))


def _odd_columns(columns: _Columns, speaker_id: str) -> list[str]:
    """Return what is unexpected in the columns of a line, in the same words for every such line of a file."""
    notes = []
    if columns.speaker != speaker_id and (has_words(columns.text) or columns.speaker.casefold() not in _NO_SPEAKER):
        notes.append(f"the speaker column has {excerpt(columns.speaker)}; the file name takes precedence")
    if columns.gender is not None and not _is_gender(columns.gender):
        notes.append(f"{excerpt(columns.gender)} was read as the gender column")
    return notes


def _is_gender(column: str) -> bool:
    return column.partition(",")[0].strip().casefold() in _GENDERS


def _is_tag(text: str) -> bool:
    return not has_words(text)
