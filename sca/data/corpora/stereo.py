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
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from typing_extensions import override

from sca.audio.decode import Reading, probe
from sca.data.corpora.base import BuiltinReader, Conversation, Issue, encoding_note, unexpected_fails_item
from sca.data.corpora.dialogue import (
    Entry,
    Recording,
    Sides,
    by_channel,
    in_seconds,
    kept,
    pair_of,
    recordings_of,
    side_of,
)
from sca.data.corpora.segments.companions import Group, find_groups
from sca.data.corpora.segments.parse import read_segments
from sca.data.corpora.segments.rttm import Turn, named_segments, read_rttm
from sca.data.corpora.text.encoding import read_text
from sca.data.corpora.timed_text import file_safe_name
from sca.data.media.find_audio import SOUND
from sca.errors import InputError

__all__ = ["StereoReader"]

_EXPECTED = (
    "expected NAME.wav with NAME.json, .ctm, .stm, .TextGrid, .eaf, .vtt, .csv or another transcript of its speakers, or "
    "with NAME.left.srt and NAME.right.srt; or NAME_1.wav and NAME_2.wav with a transcript each"
)
_CHANNEL_KINDS = (".json", ".ctm", ".stm")
_HIDDEN = re.compile(r"(^|/)\.")


class StereoReader(BuiltinReader):
    """The `CorpusReader` of this layout."""

    @override
    def matches(self, source: Path) -> bool:
        is_magichub = (source / "WAV").is_dir() and (source / "TXT").is_dir()
        recordings = [] if is_magichub else _recordings(source)
        return any(
            group.whole or group.own for group in find_groups(source, recordings, partial(_is_mono, self.reading))
        )

    @override
    def read(self, source: Path) -> Iterator[Conversation | Issue]:
        recordings = _recordings(source)
        if not recordings:
            raise InputError(f"no recordings found in {source}", hint=_EXPECTED)
        for group in find_groups(source, recordings, partial(_is_mono, self.reading)):
            try:
                with unexpected_fails_item():
                    conversation, issues = _conversation(source, group, self.reading)
            except (ValueError, InputError) as error:
                yield Issue("skipped", group.audio[0], None, str(error))
                continue
            yield from issues
            yield conversation


def _recordings(folder: Path) -> list[Path]:
    found = sorted(folder.rglob("*")) if folder.is_dir() else []
    return [
        path
        for path in found
        if path.suffix.lower() in SOUND and not _HIDDEN.search(path.relative_to(folder).as_posix()) and path.is_file()
    ]


def _is_mono(reading: Reading, audio: Path) -> bool:
    try:
        return probe(audio, reading).channels == 1
    except InputError:  # reported when the recording is read
        return False


def _conversation(folder: Path, group: Group, reading: Reading) -> tuple[Conversation, list[Issue]]:
    """Read one conversation; `ValueError` and `InputError` have the reason why it cannot be used."""
    if not group.whole and not any(group.own):
        raise ValueError(f"no transcript of that name; {_EXPECTED}")
    files = _chosen(group)
    channels = recordings_of(group.audio, reading)
    stem = group.stem.relative_to(folder) if group.stem != folder else Path(folder.name)
    name = file_safe_name(str(stem))
    issues: list[Issue] = []
    if files[0] in group.whole:
        turns = [turn for path in group.whole if path.suffix == ".rttm" for turn in read_rttm(path)]
        entries = by_channel(in_seconds(_entries(files, turns, issues), channels, issues), channels)
        transcripts: Sequence[Path | None] = [None, None] if any(entries) else [files[0], files[0]]
    else:
        entries = _of_channels(group.own, channels, issues)
        transcripts = [files[0] if files else None for files in group.own]
    if not any(entries) and (first := next((issue for issue in issues if issue.level == "skipped"), None)):
        raise ValueError(f"no words in {' and '.join(path.name for path in files)}: {first}")
    # Mono recordings are named after their speakers.
    names = [_name_of(folder, path) for path in group.audio] if len(group.audio) == 2 else [None, None]
    sides = [
        side_of(name, side, default, transcript)
        for side, default, transcript in zip(entries, names, transcripts, strict=True)
    ]
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


def _entries(files: Sequence[Path], turns: Sequence[Turn], issues: list[Issue]) -> list[Entry]:
    """Return the segments of transcripts of all speakers; `issues` gets what was left out."""
    entries: list[Entry] = []
    for path in files:
        found = read_segments(path)
        # Praat and ELAN declare their encodings.
        if path.suffix.lower() not in (".textgrid", ".eaf") and (encoding := read_text(path).encoding):
            issues.append(encoding_note(path, encoding))
        entries += kept(path, named_segments(found, turns) if turns else found, issues)
    return entries


def _of_channels(own: Sequence[Sequence[Path]], channels: Sequence[Recording], issues: list[Issue]) -> Sides:
    """Return the segments of transcripts of one channel each."""
    sides: list[Sequence[Entry]] = []
    for files in own:
        entries = _entries(files, (), issues)
        names = sorted({entry.segment.speaker for entry in entries if entry.segment.speaker})
        if len(names) > 1:
            raise ValueError(f"{files[0].name} has {' and '.join(names)}; the transcript of a channel has one speaker")
        sides.append(in_seconds(entries, channels, issues))
    return sides[0], sides[1]
