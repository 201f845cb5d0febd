"""The transcripts of each recording of a folder, found by name; and recordings that are one per speaker.

    a.wav  a.json                             one transcript of all speakers
    a.wav  a.left.srt  a.right.srt            one for each channel; also _1 and _2, .A and .B and the like
    a_1.wav  a_2.wav  a_1.srt  a_2.srt        a recording and a transcript for each speaker
    a_1.wav  a_2.wav  a.csv                   a recording for each speaker, one transcript of both

A transcript lies beside its recording or, if no other file has its name, in another folder of the corpus.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

__all__ = ["ChannelFiles", "Group", "find_groups"]

_BESIDE = (
    ".json",
    ".ctm",
    ".stm",
    ".rttm",
    ".eaf",
    ".textgrid",
    ".cha",
    ".csv",
    ".tsv",
    ".vtt",
    ".srt",
    ".txt",
    ".text",
)
_SIDES = (("left", "right"), ("L", "R"), ("A", "B"), ("a", "b"), ("1", "2"), ("0", "1"), ("ch0", "ch1"), ("ch1", "ch2"))
_SPEAKER_NAME = re.compile(r"(.+)[-_.]([^-_.]+)")
_SWITCHBOARD = re.compile(r"sw0*([0-9]+)")

ChannelFiles = tuple[tuple[Path, ...], ...]
"""The transcripts of each channel, or of each mono recording."""


class Group(NamedTuple):
    """The files of a conversation.

    Attributes:
        stem: The path without its suffix, which names the conversation.
        audio: One recording of all speakers, or one for each.
        whole: Transcripts of all speakers, the preferred one first.
        own: Transcripts of each speaker; may be empty.
    """

    stem: Path
    audio: tuple[Path, ...]
    whole: tuple[Path, ...]
    own: ChannelFiles


def find_groups(folder: Path, recordings: Sequence[Path], is_mono: Callable[[Path], bool]) -> Iterator[Group]:
    """Yield the conversations of a folder in the order of their recordings.

    Args:
        folder: The folder.
        recordings: Its recordings.
        is_mono: Returns whether a recording has one channel; called where names suggest one recording per speaker.
    """
    files = _Files(folder, recordings)
    done: set[Path] = set()
    for audio in recordings:
        if audio in done:
            continue
        pair = files.pair_of(audio)
        if pair and all(is_mono(path) for path in pair.audio):
            done.update(pair.audio)
            yield pair
        else:
            stem = audio.with_suffix("")
            yield Group(stem, (audio,), files.named(stem), files.sides(stem))


class _Files:
    """The recordings and transcripts of a folder by name."""

    def __init__(self, folder: Path, recordings: Sequence[Path]) -> None:
        self._beside: defaultdict[Path, list[Path]] = defaultdict(list)
        self._by_name: defaultdict[str, list[Path]] = defaultdict(list)
        self._stems = {path.with_suffix("") for path in recordings}
        self._in_folder: defaultdict[Path, list[Path]] = defaultdict(list)
        self._in_series: defaultdict[Path, list[Path]] = defaultdict(list)
        for path in recordings:
            self._in_folder[path.parent].append(path)
            if match := _SPEAKER_NAME.fullmatch(path.stem):
                self._in_series[path.parent / match[1]].append(path)
        order = {suffix: rank for rank, suffix in enumerate(_BESIDE)}
        found = [path for path in folder.rglob("*") if path.suffix.lower() in order and not path.name.startswith(".")]
        for path in sorted(found, key=lambda path: (order[path.suffix.lower()], path)):
            self._beside[path.with_suffix("")].append(path)
            if path.parent.name.casefold() != "txt":  # the texts of the MagicHub layout
                self._by_name[path.stem].append(path)

    def named(self, stem: Path) -> tuple[Path, ...]:
        """Return the transcripts of that name, the preferred one first."""
        if beside := self._beside.get(stem):
            return tuple(beside)
        elsewhere = self._by_name.get(stem.name, [])
        return tuple(elsewhere) if len({path.parent for path in elsewhere}) == 1 else ()

    def sides(self, stem: Path) -> ChannelFiles:
        """Return the transcripts of the left and the right channel of a recording."""
        if match := _SWITCHBOARD.fullmatch(stem.name):
            trans, words = (self._switchboard(f"{match[1]}%s-ms98-a-{kind}", stem.parent) for kind in ("trans", "word"))
            if any(trans):
                return tuple(a + b for a, b in zip(trans, words, strict=True))
        for left, right in _SIDES:
            for mark in "._-":
                names = [stem.with_name(f"{stem.name}{mark}{side}") for side in (left, right)]
                if self._stems.isdisjoint(names):
                    found = tuple(tuple(self._beside.get(name, ())[:1]) for name in names)
                    if all(found) or (left == "left" and any(found)):
                        return found
        return ()

    def _switchboard(self, pattern: str, folder: Path) -> ChannelFiles:
        return tuple(self.named(folder / f"sw{pattern % side}")[:1] for side in "AB")

    def pair_of(self, audio: Path) -> Group | None:
        """Return a group of two recordings that are named as those of two speakers, if they have transcripts."""
        match = _SPEAKER_NAME.fullmatch(audio.stem)
        for stem in [audio.parent / match[1]] if match else []:
            pair = self._in_series[stem]
            if len(pair) == 2:
                own, whole = self._own(pair), self.named(stem)
                if any(own) or whole:
                    return Group(stem, tuple(pair), whole, own if any(own) else ())
        pair = self._in_folder[audio.parent]
        if len(pair) == 2 and all(own := self._own(pair)):
            return Group(audio.parent, tuple(pair), (), own)
        return None

    def _own(self, pair: Sequence[Path]) -> ChannelFiles:
        return tuple(tuple(self._beside.get(path.with_suffix(""), ())[:1]) for path in pair)
