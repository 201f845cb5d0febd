"""A folder of stereo recordings, a speaker a channel, with a transcript of the same name beside each.

    a.wav  a.json                        word alignments as moshi-finetune has them, SPEAKER_MAIN on the left
    b.wav  b.ctm and/or b.stm            words, utterances, or utterances whose words are timed
    c.wav  c.left.srt  c.right.srt       utterances of each channel; or .vtt

A channel without a transcript is heard only. Names of speakers are known from STM alone; elsewhere everyone is somebody new.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from sca.data.corpora import moshi
from sca.data.corpora.base import Skipped
from sca.data.corpora.staging import ForeignSession, Said, plain_name
from sca.data.corpora.stereo_pair import SIDES, Side, pair_of, two_channels
from sca.data.corpora.transcripts import Spoken, read_ctm, read_cues, read_stm
from sca.data.media.find_audio import SOUND
from sca.errors import InputError

__all__ = ["is_corpus", "read"]

_ALONE = (".json", ".ctm", ".stm")
_CUES = (".srt", ".vtt")
_EXPECTED = "expected NAME.wav with NAME.json, NAME.ctm, NAME.stm, or NAME.left.srt and NAME.right.srt (or .vtt)"


def is_corpus(folder: Path) -> bool:
    """Whether a recording with a transcript of its name lies in a folder or below it."""
    return any(_transcripts(audio) for audio in _recordings(folder))


def read(folder: Path) -> Iterator[ForeignSession | Skipped]:
    """The recordings below a folder; no sound is read. Raises `InputError` where there is no such folder, or nothing in it."""
    recordings = _recordings(folder)
    if not recordings:
        raise InputError(f"there are no recordings in {folder}", hint=_EXPECTED)
    for audio in recordings:
        try:
            session, reports = _session(folder, audio)
        except (ValueError, InputError) as error:
            yield Skipped(audio, None, str(error))
            continue
        yield from reports
        yield session


def _recordings(folder: Path) -> list[Path]:
    found = sorted(folder.rglob("*")) if folder.is_dir() else []
    hidden = re.compile(r"(^|/)\.")
    return [
        path
        for path in found
        if path.suffix.lower() in SOUND and not hidden.search(path.relative_to(folder).as_posix()) and path.is_file()
    ]


def _transcripts(audio: Path) -> list[Path]:
    alone = [audio.with_suffix(suffix) for suffix in _ALONE]
    cues = [audio.with_suffix(f".{side}{suffix}") for suffix in _CUES for side in SIDES]
    return [path for path in alone + cues if path.is_file()]


def _session(folder: Path, audio: Path) -> tuple[ForeignSession, list[Skipped]]:
    """One recording. Raises `ValueError` or `InputError` with what is wrong with it."""
    found = _transcripts(audio)
    if not found:
        raise ValueError(f"no transcript of that name; {_EXPECTED}")
    kinds = {path.suffix for path in found}
    if len(kinds) > 1 and kinds != {".ctm", ".stm"}:
        raise ValueError(f"has {' and '.join(path.name for path in found)}; leave one of them (.ctm goes with .stm)")
    seconds = two_channels(audio)
    name = plain_name(str(audio.relative_to(folder).with_suffix("")))
    if kinds == {".json"}:
        return pair_of(name, audio, seconds, found[0], moshi.sides_of(found[0]))
    reports: list[Skipped] = []
    words: tuple[list[Said], list[Said]] = ([], [])
    lines: tuple[list[Said], list[Said]] = ([], [])
    names: tuple[set[str], set[str]] = (set(), set())
    for path in found:
        for one in _spoken(path):
            if isinstance(one, Skipped):
                reports.append(one)
                continue
            (words if path.suffix == ".ctm" else lines)[one.channel].append(one.said)
            names[one.channel].update([one.speaker] if one.speaker else [])
    if shared := next((sorted(both) for both in names if len(both) > 1), None):
        raise ValueError(f"{' and '.join(shared)} share a channel; each speaker needs one of his own")
    if names[0] & names[1]:
        raise ValueError(f"{', '.join(names[0])} is on both channels; each speaker needs one of his own")
    if not any(words) and not any(lines):
        raise ValueError(
            f"no words in {' and '.join(path.name for path in found)}{': ' + str(reports[0]) if reports else ''}"
        )
    sides = [
        Side(words[n], lines[n], plain_name(next(iter(names[n]))) if names[n] else None) for n in range(len(SIDES))
    ]
    session, late = pair_of(name, audio, seconds, found[0], sides)
    return session, reports + late


def _spoken(path: Path) -> Iterator[Spoken | Skipped]:
    if path.suffix == ".ctm":
        return read_ctm(path)
    if path.suffix == ".stm":
        return read_stm(path)
    return read_cues(path, SIDES.index(path.stem.rpartition(".")[2]))
