"""Reader of a folder of recordings with transcripts of the same name, one speaker per channel or per recording.

    a.wav  a.json                        word alignments as in moshi-finetune, SPEAKER_MAIN on the left
    b.wav  b.ctm and/or b.stm            words, utterances, or utterances with word times
    c.wav  c.left.srt  c.right.srt       a transcript of each channel, in any format of `segments`
    d.wav  d.TextGrid                    one transcript of both speakers, in any format of `segments`
    e_1.wav  e_2.wav  e_1.vtt  e_2.vtt   a recording of each speaker

A channel without a transcript is input audio only. Where a transcript names speakers and not their channels, the sound
decides.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

from typing_extensions import override

from sca.audio.decode import probe
from sca.data.corpora import moshi
from sca.data.corpora.base import Conversation, CorpusReader, Issue, encoding_note
from sca.data.corpora.segments.by_sound import Channel, Loudness
from sca.data.corpora.segments.companions import Group, find_groups
from sca.data.corpora.segments.manifests import Dialogue, is_kaldi, read_kaldi, read_nemo
from sca.data.corpora.segments.model import Parsed, Problem, Segment, Word
from sca.data.corpora.segments.parse import read_segments
from sca.data.corpora.segments.recogniser_json import is_moshi
from sca.data.corpora.segments.rttm import UNCLEAR, Turn, named_segments, read_rttm
from sca.data.corpora.stereo_pair import Recording, Side, pair_of, recordings_of
from sca.data.corpora.text.encoding import read_text
from sca.data.corpora.timed_text import TimedText, file_safe_name
from sca.data.corpora.transcripts import read_ctm, read_stm
from sca.data.media.find_audio import SOUND
from sca.data.runs.json_lines import first_objects
from sca.errors import InputError

__all__ = ["KaldiReader", "NemoReader", "StereoReader"]

_EXPECTED = (
    "expected NAME.wav with NAME.json, .ctm, .stm, .TextGrid, .eaf, .vtt, .csv or another transcript of its speakers, or "
    "with NAME.left.srt and NAME.right.srt; or NAME_1.wav and NAME_2.wav with a transcript each"
)
_CHANNEL_KINDS = (".json", ".ctm", ".stm")
_HIDDEN = re.compile(r"(^|/)\.")
# Names that every recording has again, for other people.
_LOCAL_NAME = re.compile(
    r"(?:speaker|spkr?|ch|channel|s|user|system|agent|customer|assistant|main|other)?[\s_-]*(?:[0-9]+|[a-z])?",
    re.IGNORECASE,
)


class _Entry(NamedTuple):
    """A segment and the file that has it."""

    path: Path
    segment: Segment


_Sides: TypeAlias = tuple[list[_Entry], list[_Entry]]


class StereoReader(CorpusReader):
    """The `CorpusReader` of this layout."""

    @override
    def matches(self, source: Path) -> bool:
        is_magichub = (source / "WAV").is_dir() and (source / "TXT").is_dir()
        recordings = [] if is_magichub else _recordings(source)
        return any(group.whole or group.own for group in find_groups(source, recordings, _is_mono))

    @override
    def read(self, source: Path) -> Iterator[Conversation | Issue]:
        recordings = _recordings(source)
        if not recordings:
            raise InputError(f"no recordings found in {source}", hint=_EXPECTED)
        for group in find_groups(source, recordings, _is_mono):
            try:
                conversation, issues = _conversation(source, group)
            except (ValueError, InputError) as error:
                yield Issue("skipped", group.audio[0], None, str(error))
                continue
            yield from issues
            yield conversation


class KaldiReader(CorpusReader):
    """The `CorpusReader` of Kaldi's data folders."""

    @override
    def matches(self, source: Path) -> bool:
        return is_kaldi(source)

    @override
    def read(self, source: Path) -> Iterator[Conversation | Issue]:
        if not is_kaldi(source):
            raise InputError(f"{source} is not a data folder of Kaldi", hint="expected wav.scp, segments and text")
        yield from _dialogues(source, read_kaldi(source))


class NemoReader(CorpusReader):
    """The `CorpusReader` of NeMo's manifests of segments."""

    @override
    def matches(self, source: Path) -> bool:
        return any("audio_filepath" in line for line in first_objects(source))

    @override
    def read(self, source: Path) -> Iterator[Conversation | Issue]:
        yield from _dialogues(source, read_nemo(source))


def _dialogues(source: Path, dialogues: Iterator[Dialogue]) -> Iterator[Conversation | Issue]:
    try:
        for dialogue in dialogues:
            try:
                conversation, issues = _listed(dialogue)
            except (ValueError, InputError) as error:
                yield Issue("skipped", dialogue.audio[0], None, str(error))
                continue
            yield from issues
            yield conversation
    except ValueError as error:
        raise InputError(str(error)) from error


def _listed(dialogue: Dialogue) -> tuple[Conversation, list[Issue]]:
    name = file_safe_name(dialogue.name)
    channels = recordings_of(dialogue.audio)
    issues: list[Issue] = []
    entries = _by_channel(_kept(dialogue.origin, dialogue.found, issues), channels)
    sides = [_side(name, side, None) for side in entries]
    conversation, late = pair_of(name, channels, dialogue.origin, sides)
    return conversation, issues + late


def _recordings(folder: Path) -> list[Path]:
    found = sorted(folder.rglob("*")) if folder.is_dir() else []
    return [
        path
        for path in found
        if path.suffix.lower() in SOUND and not _HIDDEN.search(path.relative_to(folder).as_posix()) and path.is_file()
    ]


def _is_mono(audio: Path) -> bool:
    try:
        return probe(audio).channels == 1
    except InputError:  # reported when the recording is read
        return False


def _conversation(folder: Path, group: Group) -> tuple[Conversation, list[Issue]]:
    """Read one conversation; `ValueError` and `InputError` have the reason why it cannot be used."""
    if not group.whole and not any(group.own):
        raise ValueError(f"no transcript of that name; {_EXPECTED}")
    files = _chosen(group)
    channels = recordings_of(group.audio)
    stem = group.stem.relative_to(folder) if group.stem != folder else Path(folder.name)
    name = file_safe_name(str(stem))
    if files[0].suffix == ".json" and files[0] in group.whole and is_moshi(files[0]):
        return pair_of(name, channels, files[0], moshi.sides_of(files[0], channels))
    issues: list[Issue] = []
    if files[0] in group.whole:
        turns = [turn for path in group.whole if path.suffix == ".rttm" for turn in read_rttm(path)]
        entries = _by_channel(_entries(files, turns, issues), channels)
    else:
        entries = _of_channels(group.own, issues)
    if not any(entries):
        why = f": {issues[0]}" if issues else ""
        raise ValueError(f"no words in {' and '.join(path.name for path in files)}{why}")
    # Mono recordings are named after their speakers.
    names = [_name_of(folder, path) for path in group.audio] if len(group.audio) == 2 else [None, None]
    sides = [_side(name, side, default) for side, default in zip(entries, names, strict=True)]
    conversation, late = pair_of(name, channels, files[0], sides)
    return conversation, issues + late


def _name_of(folder: Path, audio: Path) -> str:
    return file_safe_name(str(audio.relative_to(folder).with_suffix("")))


def _chosen(group: Group) -> list[Path]:
    """Return the transcripts to use: those of the channels, words and utterances, or the preferred one."""
    single = [path for path in group.whole if path.suffix in _CHANNEL_KINDS]
    own = [path for files in group.own for path in files]
    kinds = {path.suffix for path in single} | {path.suffix for path in own}
    if single and len(kinds) > 1 and kinds != {".ctm", ".stm"}:
        names = " and ".join(path.name for path in single + own)
        raise ValueError(f"has {names}; leave one of them (.ctm goes with .stm)")
    if own or single:
        return own or single
    if files := [path for path in group.whole if path.suffix != ".rttm"]:
        return files[:1]
    raise ValueError(f"{group.whole[0].name} has turns without words; add a transcript of the same name")


def _entries(files: Sequence[Path], turns: Sequence[Turn], issues: list[Issue]) -> list[_Entry]:
    """Return the segments of transcripts of all speakers; `issues` gets what was left out."""
    entries: list[_Entry] = []
    for path in files:
        found: Parsed = _from_channels(path) if path.suffix in (".ctm", ".stm") else read_segments(path)
        # Praat and ELAN declare their encodings.
        if path.suffix.lower() not in (".textgrid", ".eaf") and (encoding := read_text(path).encoding):
            issues.append(encoding_note(path, encoding))
        entries += _kept(path, named_segments(found, turns) if turns else found, issues)
    return entries


def _kept(path: Path, found: Iterable[Segment | Problem], issues: list[Issue]) -> list[_Entry]:
    """Return the segments of a file; `issues` gets the problems."""
    entries: list[_Entry] = []
    for segment in found:
        if isinstance(segment, Problem):
            issues.append(Issue("skipped", path, segment.line, segment.reason))
        else:
            entries.append(_Entry(path, segment))
    return entries


def _from_channels(path: Path) -> Parsed:
    for found in read_ctm(path) if path.suffix == ".ctm" else read_stm(path):
        if isinstance(found, Issue):
            if found.level == "skipped":  # notes are about the encoding
                yield Problem(found.line, found.reason)
            continue
        text, start, end, line = found.text.text, found.text.start_s, found.text.end_s, found.text.line
        if path.suffix == ".ctm":
            yield Segment(start, end, "", found.speaker, found.channel, (Word(text, start, end),), line)
        else:
            yield Segment(start, end, text, found.speaker, found.channel, line=line)


def _of_channels(own: Sequence[Sequence[Path]], issues: list[Issue]) -> _Sides:
    """Return the segments of transcripts of one channel each."""
    sides: list[list[_Entry]] = []
    for files in own:
        entries = _entries(files, (), issues)
        names = sorted({entry.segment.speaker for entry in entries if entry.segment.speaker})
        if len(names) > 1:
            raise ValueError(f"{files[0].name} has {' and '.join(names)}; the transcript of a channel has one speaker")
        sides.append(entries)
    return sides[0], sides[1]


def _by_channel(entries: Sequence[_Entry], channels: Sequence[Recording]) -> _Sides:
    """Separate the segments of a transcript of both speakers. Where it has no channels, the sound decides."""
    if not entries:
        return [], []
    names = sorted({entry.segment.speaker for entry in entries if entry.segment.speaker})
    given = {entry.segment.channel for entry in entries}
    if (None in given and given != {None}) or not given <= {None, 0, 1}:
        raise ValueError(f"{entries[0].path.name} has channels {given}; each segment needs one of two channels")
    if given and None not in given and not (len(given) == 1 and len(names) > 1):
        sides: _Sides = (
            [entry for entry in entries if not entry.segment.channel],
            [entry for entry in entries if entry.segment.channel],
        )
        _check_speakers(sides)
        return sides
    if any(entry.segment.speaker is None for entry in entries):
        raise ValueError(
            f"{entries[0].path.name} does not name the speaker of each segment; add the speakers, an .rttm file, or give "
            "each channel a transcript of its own: NAME.left.srt and NAME.right.srt"
        )
    return _by_sound(entries, names, channels)


def _by_sound(entries: Sequence[_Entry], names: Sequence[str], channels: Sequence[Recording]) -> _Sides:
    loudness = Loudness([Channel(recording.audio, recording.part.channel) for recording in channels])
    spans = {name: [span for e in entries if e.segment.speaker == name for span in _spans(e.segment)] for name in names}
    side_of = loudness.channels_of(spans)
    sides: _Sides = [], []
    for path, segment in entries:
        if segment.speaker != UNCLEAR:
            sides[side_of[segment.speaker or ""]].append(_Entry(path, segment))
            continue
        for word in segment.words or (Word(segment.text, segment.start_s, segment.end_s),):
            part = segment._replace(start_s=word.start_s, end_s=word.end_s, speaker=None)
            part = part._replace(words=(word,)) if segment.words else part
            sides[loudness.louder(word.start_s, word.end_s)].append(_Entry(path, part))
    return sides


def _spans(segment: Segment) -> list[tuple[float, float]]:
    if segment.text:
        return [(segment.start_s, segment.end_s)]
    return [(word.start_s, word.end_s) for word in segment.words]


def _check_speakers(sides: _Sides) -> None:
    speakers = [{entry.segment.speaker for entry in side if entry.segment.speaker} for side in sides]
    if shared := next((sorted(names) for names in speakers if len(names) > 1), None):
        raise ValueError(f"{' and '.join(shared)} share a channel; each speaker needs a separate one")
    if both := speakers[0] & speakers[1]:
        raise ValueError(f"{', '.join(both)} is on both channels; each speaker needs a separate one")


def _side(session: str, entries: Sequence[_Entry], recording: str | None) -> Side:
    """Return the transcript of one speaker; `recording` names the speaker whose recording has no other name."""
    words = [
        TimedText(word.text, word.start_s, word.end_s, path, segment.line, segment.label)
        for path, segment in entries
        for word in segment.words
    ]
    utterances = [
        TimedText(segment.text, segment.start_s, segment.end_s, path, segment.line, segment.label)
        for path, segment in entries
        if segment.text
    ]
    named = next((entry for entry in entries if entry.segment.speaker), None)
    if named is None:
        return Side(words, utterances, recording)
    name = named.segment.speaker or ""
    # STM identifies speakers across recordings; other files have names such as SPEAKER_00 for each recording again.
    is_local = named.path.suffix != ".stm" and _LOCAL_NAME.fullmatch(name)
    return Side(words, utterances, file_safe_name(f"{session}.{name}" if is_local else name))
