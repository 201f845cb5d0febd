"""Lists of recordings with segments: Kaldi's data folder, NeMo's manifest of segments, SpokenWOZ's data.json.

wav.scp   a a.wav                         segments  a-A-0001 a-A 0.50 4.42          text  a-A-0001 guess what
reco2file_and_channel   a-A a A           utt2spk   a-A-0001 nora

{"audio_filepath": "a.wav", "offset": 0.5, "duration": 3.92, "text": "guess what", "speaker": "nora"}

{"MUL0001": {"goal": ..., "log": [{"tag": "user", "text": "guess what", "words": [{"BeginTime": 500, ...}]}]}}
"""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from sca.data.corpora.segments.model import Dialogue, Problem, Segment, checked, seconds_of
from sca.data.corpora.segments.recogniser_json import entries_of
from sca.data.corpora.text.encoding import lines_of, read_text
from sca.data.runs.json_lines import lines_in

__all__ = ["is_kaldi", "is_spokenwoz", "read_kaldi", "read_nemo", "read_spokenwoz"]

_SPH2PIPE = re.compile(r"\S*sph2pipe\b.*?(?:-c\s*([12])\b.*?)?(\S+)\s*\|")
_CHANNEL_ENDING = re.compile(r"(.+)[-_]([AB12])")
_SPOKENWOZ_AUDIO = (".wav", ".flac")
_HEAD_BYTES = 1 << 18  # the goal of the first dialogue is before its log
_CHANNELS = {"A": 0, "B": 1, "1": 0, "2": 1}


class _Recording(NamedTuple):
    """A recording id of Kaldi: the conversation, the file, and the channel in it if it has several."""

    name: str
    audio: Path
    channel: int | None


def is_kaldi(source: Path) -> bool:
    """Return whether a folder is a data folder of Kaldi with segments."""
    return all((source / name).is_file() for name in ("wav.scp", "segments", "text"))


def read_kaldi(source: Path) -> Iterator[Dialogue]:
    """Read a data folder of Kaldi, one conversation at a time.

    Raises:
        ValueError: A file cannot be read, or no line has a recording that can be read.
    """
    recordings = _kaldi_recordings(source)
    texts, speakers = _table(source / "text"), _table(source / "utt2spk")
    found: defaultdict[str, list[Segment | Problem]] = defaultdict(list)
    audio: defaultdict[str, dict[Path, None]] = defaultdict(dict)
    problems: dict[str, Problem] = {}  # a recording that cannot be read is reported once
    for number, line in lines_of(source / "segments"):
        fields = line.split()
        if not fields:
            continue
        try:
            recording = recordings(fields[1]) if len(fields) == 4 else None
        except ValueError as error:
            problems.setdefault(str(error), Problem(number, str(error)))
            continue
        if recording is None:
            problems[line] = Problem(number, f"not 'utterance recording start end' of wav.scp: {line[:40]!r}")
            continue
        audio[recording.name][recording.audio] = None
        if text := texts.get(fields[0], ""):
            found[recording.name].append(_kaldi_segment(fields, text, speakers, recording, number))
    if problems and not audio:
        raise ValueError(next(iter(problems.values())).reason)
    first = list(problems.values())
    for name, files in audio.items():
        yield Dialogue(name, tuple(files), source / "segments", [*first, *found[name]])
        first = []


def _kaldi_segment(
    fields: Sequence[str], text: str, speakers: Mapping[str, str], recording: _Recording, number: int
) -> Segment | Problem:
    try:
        times = seconds_of(fields[2]), seconds_of(fields[3])
    except ValueError as error:
        return Problem(number, str(error))
    return checked(Segment(*times, text, speakers.get(fields[0]), recording.channel, line=number))


def _kaldi_recordings(source: Path) -> Callable[[str], _Recording | None]:
    """Return a function from a recording id of `segments` to the recording.

    It returns None for an unknown id, and raises `ValueError` for one whose sound is the output of a command.
    """
    files = _table(source / "wav.scp")
    sides = _table(source / "reco2file_and_channel")

    @cache
    def find(name: str) -> _Recording | None:
        ending = _CHANNEL_ENDING.fullmatch(name)
        listed = sides.get(name, "").split()
        talk, side = listed if len(listed) == 2 else (ending[1], ending[2]) if ending else (name, "")
        channel = _CHANNELS.get(side.upper())
        if name in files:
            audio, own_channel = _kaldi_file(source, files[name])
            # A file of its own for each side has one channel, unless sph2pipe takes a channel of a common file.
            return _Recording(talk, audio, channel if own_channel is None else own_channel)
        return _Recording(talk, _kaldi_file(source, files[talk])[0], channel) if talk in files else None

    return find


def _kaldi_file(source: Path, value: str) -> tuple[Path, int | None]:
    """Return the file of an entry of `wav.scp` and, of a call of sph2pipe, the channel."""
    channel: int | None = None
    if value.endswith("|"):
        command = _SPH2PIPE.fullmatch(value)
        if command is None:
            raise ValueError(f"{source / 'wav.scp'} has the command {value[:60]!r}; save its output as files")
        channel = None if command[1] is None else int(command[1]) - 1
        value = command[2]
    path = Path(value)
    return next((found for found in (source / path, path) if found.is_file()), source / path), channel


def _table(path: Path) -> dict[str, str]:
    """Return the values of a file of Kaldi by their keys; nothing if it does not exist."""
    if not path.is_file():
        return {}
    rows = (line.split(maxsplit=1) for _, line in lines_of(path) if line)
    return {row[0]: row[1].strip() if len(row) > 1 else "" for row in rows}


def read_nemo(source: Path) -> Iterator[Dialogue]:
    """Read a manifest of NeMo, one recording at a time.

    Raises:
        InputError: The file cannot be read.
    """
    found: dict[str, list[Segment | Problem]] = {}
    for number, line in lines_in(source):
        try:
            entry = json.loads(line)
            audio, start = str(entry["audio_filepath"]), float(entry.get("offset") or 0)
            end = start + float(entry["duration"])
            text, channel = str(entry.get("text") or "").strip(), entry.get("channel")
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            found.setdefault("", []).append(Problem(number, f"not a segment of a NeMo manifest ({error!r})"))
            continue
        if text:
            speaker = str(entry["speaker"]) if entry.get("speaker") is not None else None
            side = channel if isinstance(channel, int) else None
            found.setdefault(audio, []).append(checked(Segment(start, end, text, speaker, side, line=number)))
    problems = found.pop("", [])
    for audio, segments in found.items():
        path = next((path for path in (source.parent / audio, Path(audio)) if path.is_file()), source.parent / audio)
        yield Dialogue(Path(audio).with_suffix("").as_posix(), (path,), source, problems + segments)
        problems = []


def is_spokenwoz(source: Path) -> bool:
    """Return whether a folder has SpokenWOZ's `data.json`, in itself or in a subfolder."""
    return bool(_spokenwoz_lists(source))


def read_spokenwoz(source: Path) -> Iterator[Dialogue]:
    """Read the dialogues of SpokenWOZ that have a recording in the folder.

    Raises:
        ValueError: A list cannot be read.
    """
    audio = {path.stem: path for path in sorted(source.rglob("*")) if path.suffix.lower() in _SPOKENWOZ_AUDIO}
    for listed in _spokenwoz_lists(source):
        try:
            document = json.loads(read_text(listed).text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{listed} is not JSON ({error})") from error
        for name, dialogue in document.items():
            found = entries_of(dialogue)
            missing = audio.get(name) is None
            yield Dialogue(
                name, (audio.get(name, listed.parent / f"{name}.wav"),), listed, () if missing else found or ()
            )


def _spokenwoz_lists(source: Path) -> list[Path]:
    if not source.is_dir():
        return []
    return [path for path in sorted(source.rglob("data.json")) if _has_logs(path)]


def _has_logs(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return False
    return head.lstrip().startswith(b"{") and b'"log"' in head and b'"goal"' in head
