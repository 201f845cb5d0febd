"""lhotse cuts: a JSONL (`.gz` or not) of MultiCuts, or of the MonoCuts of each recording's channels one after the other.

A cut is a conversation, its channels are the speakers, its supervisions what they say; word alignments are used where there are.
Read without lhotse, which brings torch. Format: lhotse 1.33, as `CutSet.to_file` writes it: times of supervisions and alignments
count from the start of the cut. Recordings are looked for beside the list, then where the command runs.
"""

import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, Field, ValidationError

from sca.audio.decode import probe
from sca.data.corpora.base import Part, Skipped
from sca.data.corpora.json_lines import complaint, lines_in
from sca.data.corpora.staging import ForeignSession, ForeignTrack, Said, inside, plain_name
from sca.errors import InputError

__all__ = ["read"]

_SHAPE = "expected lhotse cuts: lines with a recording and supervisions, as CutSet.to_file writes them"
_KINDS = ("MonoCut", "MultiCut")
_Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Item = tuple[str, float, _Seconds]
_ScoredItem = tuple[str, float, _Seconds, Any]


class _AudioSource(BaseModel):
    type: str
    channels: list[int]
    source: Any


class _Recording(BaseModel):
    id: str = Field(min_length=1)
    sources: list[_AudioSource]
    duration: _Seconds
    transforms: list[Any] | None = None


class _Supervision(BaseModel):
    id: str
    # A supervision may begin before its cut does; what lies outside is cut off.
    start: float = Field(allow_inf_nan=False)
    duration: _Seconds
    channel: int | list[int]
    text: str | None = None
    speaker: str | None = None
    alignment: dict[str, list[_Item | _ScoredItem]] | None = None


class _Cut(BaseModel):
    id: str = Field(min_length=1)
    start: _Seconds
    duration: _Seconds
    channel: int | list[int]
    supervisions: list[_Supervision]
    recording: _Recording

    @property
    def channels(self) -> list[int]:
        return [self.channel] if isinstance(self.channel, int) else self.channel


class _Listed(NamedTuple):
    number: int
    cut: _Cut | Skipped
    key: tuple[Any, ...]


def read(source: Path) -> Iterator[ForeignSession | Skipped]:
    """The cuts of a list; no sound is read. Raises `InputError` when the list cannot be."""
    for _, listed in groupby(_cuts(source), key=lambda one: one.key):
        group = list(listed)
        first = group[0]
        if isinstance(first.cut, Skipped):
            yield first.cut
            continue
        try:
            session, reports = _session(source, first.number, [one.cut for one in group if isinstance(one.cut, _Cut)])
        except (ValueError, InputError) as error:
            yield Skipped(source, first.number, str(error))
            continue
        yield from reports
        yield session


def _cuts(source: Path) -> Iterator[_Listed]:
    """Every line. MonoCuts of one stretch of a recording have the same key, all else one of its own."""
    for number, line in lines_in(source, _SHAPE):
        try:
            plain = json.loads(line)
            kind = plain.get("type") if isinstance(plain, dict) else type(plain).__name__
            if kind not in _KINDS:
                raise ValueError(f"a {kind} is not one of {', '.join(_KINDS)}, which have a channel a speaker")
            cut = _Cut.model_validate(plain)
        except ValidationError as error:
            yield _Listed(number, Skipped(source, number, f"{complaint(error)}; {_SHAPE}"), (number,))
        except (ValueError, RecursionError) as error:
            yield _Listed(number, Skipped(source, number, f"not a cut ({error})"), (number,))
        else:
            whole = (cut.recording.id, cut.start, cut.duration)
            yield _Listed(number, cut, whole if kind == "MonoCut" else (number,))


def _session(source: Path, number: int, cuts: list[_Cut]) -> tuple[ForeignSession, list[Skipped]]:
    """One conversation. Raises `ValueError` or `InputError` with what is wrong with it."""
    first = cuts[0]
    recording = first.recording
    if recording.transforms:
        raise ValueError(f"recording {recording.id} is transformed while it is read; save its audio and cut that")
    channels = [channel for cut in cuts for channel in cut.channels]
    if len(set(channels)) < 2:
        raise ValueError(f"cut {first.id} has one channel; two are needed, a speaker each")
    name = plain_name(first.id if len(cuts) == 1 else recording.id)
    supervisions = [one for cut in cuts for one in cut.supervisions]
    reports = [
        Skipped(source, number, f"supervision {one.id} has no text")
        for one in supervisions
        if not (one.text or "").strip()
    ]
    tracks: list[ForeignTrack] = []
    for channel in sorted(set(channels)):
        said = [one for one in supervisions if one.channel in (channel, [channel])]
        names = sorted({one.speaker for one in said if one.speaker})
        if len(names) > 1:
            raise ValueError(
                f"cut {first.id}: {' and '.join(names)} share channel {channel}; each needs one of his own"
            )
        speaker = plain_name(names[0]) if names else f"{name}.ch{channel}"
        if speaker in [track.speaker for track in tracks]:
            raise ValueError(f"cut {first.id}: {speaker} is on two channels")
        audio, place = _audio(source, recording, channel)
        whole = first.start == 0 and abs(first.duration - recording.duration) < 1e-3
        part = Part(place) if whole else Part(place, first.start, first.duration)
        lines, late = inside(_lines(said), first.duration, source)
        words, _ = inside(_words(said), first.duration, source)
        reports += late
        tracks.append(ForeignTrack(speaker, audio, part, lines or None, words or None))
    mixed = next((one.id for one in supervisions if isinstance(one.channel, list) and len(one.channel) > 1), None)
    if mixed is not None:
        raise ValueError(f"supervision {mixed} is on several channels; each speaker needs one of his own")
    strange = next(
        (one for one in supervisions if one.channel not in channels and one.channel not in [[c] for c in channels]),
        None,
    )
    if strange is not None:
        raise ValueError(
            f"supervision {strange.id} is on channel {strange.channel}, which cut {first.id} does not have"
        )
    if all(track.lines is None for track in tracks):
        raise ValueError(f"cut {first.id} has no supervision with words in it")
    return ForeignSession(name, source, tuple(tracks), number), reports


def _audio(source: Path, recording: _Recording, channel: int) -> tuple[Path, int]:
    """The file that has a channel, and which one of the file's own it is."""
    for one in recording.sources:
        if channel not in one.channels:
            continue
        if one.type != "file" or not isinstance(one.source, str):
            raise ValueError(f"recording {recording.id} is a {one.type}, not a file; save its audio first")
        places = [source.parent / one.source, Path(one.source)]
        audio = next((path for path in places if path.is_file()), places[0])
        info = probe(audio)
        place = one.channels.index(channel)
        if place >= info.channels:
            raise ValueError(
                f"{audio} has {info.channels} channel(s), recording {recording.id} wants {len(one.channels)} of it"
            )
        if info.duration_s is not None and info.duration_s < recording.duration - 0.5:
            raise ValueError(
                f"{audio} lasts {info.duration_s:.3f} s, recording {recording.id} says {recording.duration:.3f} s"
            )
        return audio, place
    raise ValueError(f"recording {recording.id} has no channel {channel}")


def _lines(said: list[_Supervision]) -> Iterator[Said]:
    for one in said:
        if (one.text or "").strip():
            start = max(0.0, one.start)
            yield Said(one.text or "", start, max(start, one.start + one.duration), f"supervision {one.id}, ")


def _words(said: list[_Supervision]) -> Iterator[Said]:
    for one in said:
        for symbol, start, duration, *_ in (one.alignment or {}).get("word", ()):
            if symbol.strip():
                yield Said("".join(symbol.split()), max(0.0, start), max(0.0, start) + duration)
