"""Reader of lhotse cuts: a JSONL (or `.gz`) of MultiCuts, or of consecutive MonoCuts, one per channel; and of Shar.

A cut is a conversation, its channels are the speakers, its supervisions the utterances; word alignments are used if
present. lhotse is needed for Shar archives only, since it depends on torch. Format: lhotse 1.33, as `CutSet.to_file`
writes it: times of supervisions count from the start of the cut, those of alignments from the start of the recording if
the cut was truncated by lhotse (`SupervisionSegment.with_offset` leaves them), and from the start of the cut otherwise.
Recordings are looked up relative to the list, then to the working directory.
"""

import json
import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import BaseModel, Field, ValidationError
from typing_extensions import override

from sca.audio.decode import Reading, probe
from sca.data.corpora.base import BuiltinReader, Conversation, Issue, Part, Track, unexpected_fails_item
from sca.data.corpora.packed.recordings import RecordingFiles
from sca.data.corpora.packed.shar import shar_cuts, shar_folders
from sca.data.corpora.segments.by_sound import Channel, Loudness
from sca.data.corpora.segments.lhotse_forms import cut_lines, is_recordings, plain_cut
from sca.data.corpora.timed_text import TimedText, file_safe_name, make_track, split_at_end
from sca.data.runs.json_lines import first_objects, validation_message
from sca.errors import InputError

__all__ = ["LhotseReader"]

_SHAPE = "expected lhotse cuts: lines with a recording and supervisions, as CutSet.to_file writes them"
_KINDS = ("MonoCut", "MultiCut")
_SYMBOL = re.compile(r"<[^<>]+>")
_MAX_SHORTER_S = 0.5
_Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Item = tuple[str, float, _Seconds]
_ScoredItem = tuple[str, float, _Seconds, object]


class _AudioSource(BaseModel):
    type: str
    channels: list[int]
    source: object


class _Recording(BaseModel):
    id: str = Field(min_length=1)
    sources: list[_AudioSource]
    duration: _Seconds
    transforms: list[object] | None = None


class _Supervision(BaseModel):
    id: str
    # A supervision may begin before its cut does; the part outside is cut off.
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


class _Word(NamedTuple):
    """A word of an alignment, in seconds from the start of the cut."""

    text: str
    start: float
    end: float


class _Listed(NamedTuple):
    """A line of the list; lines with the same key make one conversation."""

    number: int
    cut: _Cut | Issue
    key: tuple[object, ...]


class _Supervised(NamedTuple):
    """A supervision, its words with times in the cut, and the line of the cut that has it."""

    line: int
    supervision: _Supervision
    words: tuple[_Word, ...]


class LhotseReader(BuiltinReader):
    """The `CorpusReader` of this layout.

    Args:
        cache_dir: The cache folder, where the recordings of Shar archives are written.
    """

    def __init__(self, cache_dir: Path | None = None) -> None:
        self._cache_dir = cache_dir

    @override
    def matches(self, source: Path) -> bool:
        return (
            bool(shar_folders(source))
            or is_recordings(source)
            or any("supervisions" in cut and "recording" in cut for cut in map(plain_cut, first_objects(source)))
        )

    @override
    def read(self, source: Path) -> Iterator[Conversation | Issue]:
        is_shar = bool(shar_folders(source))
        listed = shar_cuts(source, RecordingFiles(source, self._cache_dir)) if is_shar else cut_lines(source, _SHAPE)
        for _, group in groupby(_cuts(source, listed), key=lambda listed: listed.key):
            lines = list(group)
            number, first = lines[0].number, lines[0].cut
            if isinstance(first, Issue):
                yield first
                continue
            cuts = [(listed.number, listed.cut) for listed in lines if isinstance(listed.cut, _Cut)]
            try:
                with unexpected_fails_item():
                    conversation, issues = _conversation(source, cuts, self.reading)
            except (ValueError, InputError) as error:
                yield Issue("skipped", source, number, str(error))
                continue
            yield from issues
            yield conversation


def _cuts(source: Path, listed: Iterator[tuple[int, bytes]]) -> Iterator[_Listed]:
    """Read every line. MonoCuts of one section of a recording have the same key, all other lines one of their own."""
    for number, line in listed:
        try:
            plain = plain_cut(json.loads(line))
            kind = plain.get("type") if isinstance(plain, dict) else type(plain).__name__
            if kind not in _KINDS:
                raise ValueError(f"a {kind} is not one of {', '.join(_KINDS)}, which have one channel per speaker")
            cut = _Cut.model_validate(plain)
        except ValidationError as error:
            issue = Issue("skipped", source, number, f"{validation_message(error)}; {_SHAPE}")
            yield _Listed(number, issue, (number,))
        except (ValueError, RecursionError) as error:
            yield _Listed(number, Issue("skipped", source, number, f"not a cut ({error})"), (number,))
        else:
            section = (cut.recording.id, cut.start, cut.duration)
            yield _Listed(number, cut, section if kind == "MonoCut" else (number,))


def _conversation(source: Path, cuts: list[tuple[int, _Cut]], reading: Reading) -> tuple[Conversation, list[Issue]]:
    """Make one conversation; `ValueError` and `InputError` have the reason why the cuts cannot be used."""
    number, first = cuts[0]
    recording = first.recording
    if recording.transforms:
        raise ValueError(
            f"recording {recording.id} has transforms, which change it on reading; save its audio and cut that"
        )
    channels = sorted({channel for _, cut in cuts for channel in cut.channels})
    if len(channels) < 2:
        raise ValueError(f"cut {first.id} has one channel; two are needed, one per speaker")
    name = file_safe_name(first.id if len(cuts) == 1 else recording.id)
    supervised = [_inside(line, supervision, cut) for line, cut in cuts for supervision in cut.supervisions]
    issues = [
        Issue("skipped", source, found.line, f"supervision {found.supervision.id} has no text")
        for found in supervised
        if not (found.supervision.text or "").strip()
    ]
    supervised = _on_own_channels(source, first, channels, supervised, reading)
    speakers = _speakers(first, name, channels, [found.supervision for found in supervised])
    tracks: list[Track] = []
    left_out: list[Issue] = []
    transcribed = False
    for channel, speaker in speakers.items():
        audio, file_channel = _audio(source, recording, channel, reading)
        own = [found for found in supervised if found.supervision.channel in (channel, [channel])]
        utterances, late = split_at_end(_utterances(source, own), first.duration)
        words, _ = split_at_end(_words(source, own), first.duration)
        issues += late
        transcribed = transcribed or bool(utterances)
        whole = first.start == 0 and abs(first.duration - recording.duration) < 1e-3
        part = Part(file_channel) if whole else Part(file_channel, first.start, first.duration)
        track, found = make_track(speaker, audio, utterances, words, part)
        left_out += found
        if track is not None:
            tracks.append(track)
    _check_channels(first, channels, [found.supervision for found in supervised])
    if not transcribed:
        raise ValueError(f"cut {first.id} has no supervision with words in it")
    return Conversation(name, tuple(tracks), tuple(left_out), number), issues


def _on_own_channels(
    source: Path, cut: _Cut, channels: list[int], supervised: list[_Supervised], reading: Reading
) -> list[_Supervised]:
    """Return supervisions that are on both channels on the one of their speaker, which the sound shows."""
    if not supervised or len(channels) != 2 or not all(found.supervision.channel == channels for found in supervised):
        return supervised
    spans: dict[str, list[tuple[float, float]]] = {}
    for found in supervised:
        start = cut.start + found.supervision.start
        spans.setdefault(found.supervision.speaker or "", []).append((start, start + found.supervision.duration))
    loudness = Loudness([Channel(*_audio(source, cut.recording, channel, reading)) for channel in channels], reading)
    try:
        side_of = loudness.channels_of(spans)
    except ValueError as error:
        raise ValueError(
            f"supervision {supervised[0].supervision.id} is on several channels; each speaker needs a separate one: {error}"
        ) from error
    return [
        found._replace(
            supervision=found.supervision.model_copy(
                update={"channel": channels[side_of[found.supervision.speaker or ""]]}
            )
        )
        for found in supervised
    ]


def _speakers(cut: _Cut, name: str, channels: list[int], supervisions: list[_Supervision]) -> dict[int, str]:
    """Return the speaker of each channel."""
    speakers: dict[int, str] = {}
    for channel in channels:
        names = sorted({s.speaker for s in supervisions if s.speaker and s.channel in (channel, [channel])})
        if len(names) > 1:
            shared = " and ".join(names)
            raise ValueError(f"cut {cut.id}: {shared} share channel {channel}; each speaker needs a separate one")
        speaker = file_safe_name(names[0]) if names else f"{name}.ch{channel}"
        if speaker in speakers.values():
            raise ValueError(f"cut {cut.id}: {speaker} is on two channels")
        speakers[channel] = speaker
    return speakers


def _check_channels(cut: _Cut, channels: list[int], supervisions: list[_Supervision]) -> None:
    """Raise `ValueError` for a supervision on several channels, or on one that the cut does not have."""
    for supervision in supervisions:
        if isinstance(supervision.channel, list) and len(supervision.channel) > 1:
            raise ValueError(f"supervision {supervision.id} is on several channels; each speaker needs a separate one")
    for supervision in supervisions:
        if supervision.channel not in channels and supervision.channel not in [[channel] for channel in channels]:
            raise ValueError(
                f"supervision {supervision.id} is on channel {supervision.channel}, which cut {cut.id} does not have"
            )


def _audio(source: Path, recording: _Recording, channel: int, reading: Reading) -> tuple[Path, int]:
    """Return the file that has a channel of a recording, and the index of the channel in that file."""
    for listed in recording.sources:
        if channel not in listed.channels:
            continue
        if listed.type != "file" or not isinstance(listed.source, str):
            raise ValueError(f"recording {recording.id} is a {listed.type}, not a file; save its audio first")
        candidates = [source.parent / listed.source, Path(listed.source)]
        audio = next((path for path in candidates if path.is_file()), candidates[0])
        info = probe(audio, reading)
        file_channel = listed.channels.index(channel)
        if file_channel >= info.channels:
            raise ValueError(
                f"{audio} has {info.channels} channel(s), recording {recording.id} needs {len(listed.channels)} of it"
            )
        if info.duration_s is not None and info.duration_s < recording.duration - _MAX_SHORTER_S:
            raise ValueError(
                f"{audio} lasts {info.duration_s:.3f} s, "
                f"recording {recording.id} should last {recording.duration:.3f} s"
            )
        return audio, file_channel
    raise ValueError(f"recording {recording.id} has no channel {channel}")


def _inside(line: int, supervision: _Supervision, cut: _Cut) -> _Supervised:
    """Return the part of a supervision that lies in the cut.

    The text is cut only if its words have times; a supervision without them keeps its whole text.
    """
    words = _aligned_words(supervision, cut)
    kept = [i for i, word in enumerate(words) if 0 <= (word.start + word.end) / 2 < cut.duration]
    texts = (supervision.text or "").split()
    if len(kept) < len(words) == len(texts):
        end = min(supervision.start + supervision.duration, cut.duration)
        start = max(0.0, supervision.start)
        part = {"text": " ".join(texts[i] for i in kept), "start": start, "duration": max(0.0, end - start)}
        supervision = supervision.model_copy(update=part)
    return _Supervised(line, supervision, tuple(words[i] for i in kept))


def _aligned_words(supervision: _Supervision, cut: _Cut) -> list[_Word]:
    """Return the aligned words. Their times count from the origin with which they lie in the supervision."""
    # Symbols such as <eps> are silence.
    listed = (supervision.alignment or {}).get("word", ())
    items = [item for item in listed if item[0].strip() and not _SYMBOL.fullmatch(item[0].strip())]
    if not items:
        return []
    first, last = items[0][1], items[-1][1] + items[-1][2]

    def outside(origin: float) -> float:
        end = supervision.start + supervision.duration
        return max(0.0, supervision.start - (first - origin)) + max(0.0, last - origin - end)

    origin = min((cut.start, 0.0), key=outside)
    return [_Word("".join(text.split()), start - origin, start - origin + length) for text, start, length, *_ in items]


def _utterances(source: Path, supervised: list[_Supervised]) -> Iterator[TimedText]:
    for line, supervision, _ in supervised:
        if (supervision.text or "").strip():
            start = max(0.0, supervision.start)
            end = max(start, supervision.start + supervision.duration)
            yield TimedText(supervision.text or "", start, end, source, line, f"supervision {supervision.id}")


def _words(source: Path, supervised: list[_Supervised]) -> Iterator[TimedText]:
    for line, _, words in supervised:
        for word in words:
            yield TimedText(word.text, max(0.0, word.start), max(0.0, word.end), source, line)
