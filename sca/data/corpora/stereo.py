"""Reader of a folder of stereo recordings, one speaker per channel, with a transcript of the same name beside each.

    a.wav  a.json                        word alignments as in moshi-finetune, SPEAKER_MAIN on the left
    b.wav  b.ctm and/or b.stm            words, utterances, or utterances with word times
    c.wav  c.left.srt  c.right.srt       utterances of each channel; or .vtt

A channel without a transcript is input audio only. Only STM identifies speakers; in the other formats each channel of
each recording is a speaker of its own.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from typing_extensions import override

from sca.data.corpora import moshi
from sca.data.corpora.base import Conversation, CorpusReader, Issue
from sca.data.corpora.stereo_pair import SIDES, Side, pair_of, two_channels
from sca.data.corpora.timed_text import TimedText, file_safe_name
from sca.data.corpora.transcripts import ChannelText, read_ctm, read_cues, read_stm
from sca.data.media.find_audio import SOUND
from sca.errors import InputError

__all__ = ["StereoReader"]

_SINGLE = (".json", ".ctm", ".stm")
_CUES = (".srt", ".vtt")
_EXPECTED = "expected NAME.wav with NAME.json, NAME.ctm, NAME.stm, or NAME.left.srt and NAME.right.srt (or .vtt)"
_HIDDEN = re.compile(r"(^|/)\.")


class StereoReader(CorpusReader):
    """The `CorpusReader` of this layout."""

    @override
    def matches(self, source: Path) -> bool:
        return any(_transcripts(audio) for audio in _recordings(source))

    @override
    def read(self, source: Path) -> Iterator[Conversation | Issue]:
        recordings = _recordings(source)
        if not recordings:
            raise InputError(f"no recordings found in {source}", hint=_EXPECTED)
        for audio in recordings:
            try:
                conversation, issues = _conversation(source, audio)
            except (ValueError, InputError) as error:
                yield Issue("skipped", audio, None, str(error))
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


def _transcripts(audio: Path) -> list[Path]:
    single = [audio.with_suffix(suffix) for suffix in _SINGLE]
    cues = [audio.with_suffix(f".{side}{suffix}") for suffix in _CUES for side in SIDES]
    return [path for path in single + cues if path.is_file()]


def _conversation(folder: Path, audio: Path) -> tuple[Conversation, list[Issue]]:
    """Read one recording; `ValueError` and `InputError` have the reason why it cannot be used."""
    files = _transcripts(audio)
    if not files:
        raise ValueError(f"no transcript of that name; {_EXPECTED}")
    kinds = {path.suffix for path in files}
    if len(kinds) > 1 and kinds != {".ctm", ".stm"}:
        raise ValueError(f"has {' and '.join(path.name for path in files)}; leave one of them (.ctm goes with .stm)")
    seconds = two_channels(audio)
    name = file_safe_name(str(audio.relative_to(folder).with_suffix("")))
    if kinds == {".json"}:
        return pair_of(name, audio, seconds, files[0], moshi.sides_of(files[0]))
    sides, issues = _sides(files)
    conversation, late = pair_of(name, audio, seconds, files[0], sides)
    return conversation, issues + late


def _sides(files: list[Path]) -> tuple[list[Side], list[Issue]]:
    issues: list[Issue] = []
    words: tuple[list[TimedText], list[TimedText]] = ([], [])
    utterances: tuple[list[TimedText], list[TimedText]] = ([], [])
    speakers: tuple[set[str], set[str]] = (set(), set())
    for path in files:
        for found in _read_file(path):
            if isinstance(found, Issue):
                issues.append(found)
                continue
            (words if path.suffix == ".ctm" else utterances)[found.channel].append(found.text)
            speakers[found.channel].update([found.speaker] if found.speaker else [])
    if shared := next((sorted(names) for names in speakers if len(names) > 1), None):
        raise ValueError(f"{' and '.join(shared)} share a channel; each speaker needs a separate one")
    if both := speakers[0] & speakers[1]:
        raise ValueError(f"{', '.join(both)} is on both channels; each speaker needs a separate one")
    if not any(words) and not any(utterances):
        why = f": {issues[0]}" if issues else ""
        raise ValueError(f"no words in {' and '.join(path.name for path in files)}{why}")
    names = [file_safe_name(next(iter(found))) if found else None for found in speakers]
    return [Side(words[n], utterances[n], names[n]) for n in range(len(SIDES))], issues


def _read_file(path: Path) -> Iterator[ChannelText | Issue]:
    if path.suffix == ".ctm":
        return read_ctm(path)
    if path.suffix == ".stm":
        return read_stm(path)
    return read_cues(path, SIDES.index(path.stem.rpartition(".")[2]))
