"""Reader of the MagicHub multi-stream layout: a recording and a transcript per speaker, on one time line.

    ROOT/WAV/A0001_S0001_0_G0001.wav     (or .flac) the speech of one speaker; the name is SESSION_SPEAKER
    ROOT/TXT/A0001_S0001_0_G0001.txt     [start,end] speaker gender text, in seconds, one utterance per line
    ROOT/WORDS/A0001_S0001_0_G0001.json  optional: [[word, start, end], ...], in seconds

MagicData-RAMC has one recording and one transcript for each conversation; their names have no `_`:

    ROOT/WAV/CTS-CN-F2F-2019-11-15-1.wav ROOT/TXT/CTS-CN-F2F-2019-11-15-1.txt

`scan` reads file names only, `read` the transcripts of one session. No audio is opened: whether a time lies inside the
recording is checked when the session is built.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from typing_extensions import override

from sca.data.corpora.base import BuiltinReader, Conversation, Issue, TimedWord, Track, require_two_tracks
from sca.data.corpora.dialogue import conversations
from sca.data.corpora.exact_times import is_utf8, read_word_times
from sca.data.corpora.magichub_lines import read_dialogue, read_transcript
from sca.data.corpora.segments.model import Dialogue
from sca.data.corpora.session_source import SessionSource, packed_source
from sca.data.corpora.validation import validated
from sca.errors import InputError, UsageError

__all__ = [
    "MagicHubReader",
    "Scan",
    "SessionFiles",
    "TrackFiles",
    "find_corpus",
    "is_nearest_layout",
    "read",
    "scan",
]

_AUDIO = (".wav", ".flac")  # the first of two that share a name is taken
_NAMED_ALONE = ", and the name is not SESSION_SPEAKER"
_EXPECTED = "expected ROOT/WAV/SESSION_SPEAKER.wav (or .flac) and ROOT/TXT/SESSION_SPEAKER.txt"


class TrackFiles(NamedTuple):
    """The files of one speaker of a session."""

    speaker_id: str
    audio: Path
    transcript: Path
    words: Path | None


@dataclass(frozen=True, slots=True)
class SessionFiles:
    """The files of a session: two or more tracks sorted by speaker."""

    session_id: str
    tracks: tuple[TrackFiles, ...]


@dataclass(frozen=True, slots=True)
class Scan:
    """The sessions of a corpus by their file names, sorted by id, and the files that belong to none.

    `dialogues` are sessions with one recording and transcript of both speakers.
    """

    sessions: tuple[SessionFiles, ...]
    issues: tuple[Issue, ...]
    dialogues: tuple[Dialogue, ...] = ()


class MagicHubReader(BuiltinReader):
    """The `CorpusReader` of this layout; it can also list the sessions without reading them."""

    @override
    def matches(self, source: Path) -> bool:
        return _is_corpus(source)

    @override
    def read(self, source: Path) -> Iterator[Conversation | Issue]:
        found = scan(source)
        yield from found.issues
        for files in found.sessions:
            try:
                yield read(files)
            except InputError as error:
                yield Issue("skipped", files.tracks[0].audio, None, error.message)
        yield from conversations(found.dialogues, self.reading)

    def sources(self, source: Path) -> Iterator[SessionSource | Issue]:
        """Find all sessions by their file names.

        Raises:
            InputError: `source` does not have this layout or cannot be listed.
        """
        found = scan(source)
        yield from found.issues
        for files in found.sessions:
            paths = [path for track in files.tracks for path in (track.audio, track.transcript, track.words) if path]
            yield SessionSource(files.session_id, tuple(paths), partial(_read, files))
        for conversation in conversations(found.dialogues, self.reading):
            yield conversation if isinstance(conversation, Issue) else packed_source(validated(conversation))


def scan(root: Path) -> Scan:
    """Find the sessions of a corpus.

    Raises:
        InputError: `root` does not have this layout or cannot be listed.
    """
    try:
        return _scan(root)
    except OSError as error:
        raise InputError(f"cannot read {error.filename or root}: {error.strerror or error}") from error


def read(files: SessionFiles) -> Conversation:
    """Read the transcripts and word times of one session.

    A track whose transcript cannot be read is left out, because its speaker is not silent.

    Raises:
        InputError: Fewer than two tracks are left; the message has the reasons.
    """
    return require_two_tracks(_read(files))


def is_nearest_layout(folder: Path) -> bool:
    """Return whether a folder has a part of this layout, or is beside or above a corpus of it."""
    try:
        return any(_subfolder(folder, name) for name in ("WAV", "TXT")) or bool(_place_of_corpus(folder))
    except OSError:
        return True


def find_corpus(folder: Path) -> Path:
    """Return the only corpus of this layout in a folder: the folder itself, one in it, or one in a folder in it.

    Raises:
        UsageError: No file was found, or several were.
    """
    if _is_corpus(folder):
        return folder
    inside = _folders_in(folder)
    found = [path for path in inside if _is_corpus(path)]
    # An archive is often unpacked into a folder of its name, which holds the folder of the corpus.
    found = found or [path for above in inside for path in _folders_in(above) if _is_corpus(path)]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(str(path) for path in found)
        raise UsageError(f"no input was given, and there are {len(found)} corpora here: {names}", hint="give one")
    raise UsageError(
        "no input was given, and there is no folder with WAV/ and TXT/ here",
        hint="give the corpus, or run the command in the folder that holds it",
    )


def _folders_in(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:
        return []


def _is_corpus(folder: Path) -> bool:
    """Return whether a folder has the two folders of this layout."""
    try:
        return _subfolder(folder, "WAV") is not None and _subfolder(folder, "TXT") is not None
    except OSError:
        return False


def _read(files: SessionFiles) -> Conversation:
    tracks: list[Track] = []
    issues: list[Issue] = []
    speakers = {track.speaker_id for track in files.tracks}
    for speaker_id, audio, transcript, words_file in files.tracks:
        utterances, found = read_transcript(transcript, speaker_id, speakers)
        issues += sorted(found, key=lambda issue: issue.line or 0)
        if utterances is None:
            continue
        words: tuple[TimedWord, ...] | None = None
        if words_file is not None:
            try:
                words = read_word_times(words_file)
            except ValueError as error:
                reason = f"{error}; the word times of this track are not used"
                issues.append(Issue("skipped", words_file, None, reason))
        tracks.append(Track(speaker_id, audio, transcript, utterances, words))
    return Conversation(files.session_id, tuple(tracks), tuple(issues))


def _scan(root: Path) -> Scan:
    folders = {name: _subfolder(root, name) for name in ("WAV", "TXT", "WORDS")}
    wav, txt = folders["WAV"], folders["TXT"]
    if wav is None or txt is None:
        raise _not_a_corpus(root, [name for name in ("WAV", "TXT") if folders[name] is None])
    issues: list[Issue] = []
    audio = _tracks_in(wav, _AUDIO, issues)
    if not audio and not issues:
        raise InputError(f"{wav} has no .wav or .flac files", hint=_EXPECTED)
    texts = _tracks_in(txt, (".txt",), issues)
    words = _tracks_in(folders["WORDS"], (".json",), issues) if folders["WORDS"] is not None else {}
    sessions: dict[str, list[TrackFiles]] = {}
    both = sorted(audio.keys() & texts.keys())
    dialogues = (Dialogue(key[0], (audio[key],), texts[key], read_dialogue(texts[key])) for key in both if not key[1])
    for key in [key for key in both if key[1]]:
        sessions.setdefault(key[0], []).append(TrackFiles(key[1], audio[key], texts[key], words.get(key)))

    def skip(path: Path, reason: str) -> None:
        issues.append(Issue("skipped", path, None, reason))

    for key in audio.keys() - texts.keys():
        skip(audio[key], "no transcript of that name in TXT" + ("" if key[1] else _NAMED_ALONE))
    for key in texts.keys() - audio.keys():
        skip(texts[key], "no recording of that name in WAV" + ("" if key[1] else _NAMED_ALONE))
    for key in words.keys() - (audio.keys() & texts.keys()):
        skip(words[key], "word times without a recording and a transcript")
    for tracks in sessions.values():
        if len(tracks) == 1:
            skip(tracks[0].audio, "the only speaker of its session; a conversation needs two")
    found = (SessionFiles(name, tuple(tracks)) for name, tracks in sessions.items() if len(tracks) > 1)
    in_order = sorted(issues, key=lambda issue: (str(issue.path), issue.reason))
    return Scan(tuple(found), tuple(in_order), tuple(dialogues))


def _subfolder(root: Path, name: str) -> Path | None:
    """Return the folder `name` of `root`, in any case; the exact spelling has precedence."""
    if not root.is_dir():
        return None
    if (root / name).is_dir():
        return root / name
    return next((path for path in sorted(root.iterdir()) if path.name.upper() == name and path.is_dir()), None)


def _not_a_corpus(root: Path, missing: list[str]) -> InputError:
    """Return the error for a folder without WAV and TXT, with a hint where the corpus probably is."""
    if not root.is_dir():
        what = f"{root} is not a folder" if root.exists() else f"{root} does not exist"
        return InputError(what, hint=_EXPECTED)
    return InputError(f"{root} has no {' and '.join(missing)} folder", hint=_place_of_corpus(root) or _EXPECTED)


def _place_of_corpus(root: Path) -> str:
    """Return a hint for a folder beside or above a corpus, else an empty string."""
    # Users give the WAV folder of the corpus, or the folder into which they unpacked the archive.
    above = root.absolute().parent
    if root.absolute().name.upper() in ("WAV", "TXT", "WORDS") and _is_corpus(above):
        return f"give the folder that holds it: {above}"
    inside = [path for path in sorted(root.iterdir()) if path.is_dir() and _is_corpus(path)]
    if len(inside) == 1:
        return f"the corpus seems to be {inside[0]}"
    return f"it holds {len(inside)} corpora; give one of them, for example {inside[0]}" if inside else ""


def _tracks_in(folder: Path, suffixes: Sequence[str], issues: list[Issue]) -> dict[tuple[str, str], Path]:
    """Return the files of a folder by (session, speaker), or by (session, "") if the name has no `_`.

    `issues` gets the matching files that cannot be used.
    """
    found: dict[tuple[str, str], Path] = {}
    with os.scandir(folder) as entries:
        files = [(entry.name, _is_file(entry)) for entry in entries if _suffix(entry.name) in suffixes]
    for name, is_file in sorted(files, key=lambda file: (suffixes.index(_suffix(file[0])), file[0])):
        path, reason = folder / name, ""
        stem = os.path.splitext(name)[0]  # noqa: PTH122 - see _suffix
        session, mark, speaker = stem.rpartition("_") if "_" in stem else (stem, "", "")
        if not is_utf8(name):
            path, reason = folder, f"the file name {name!a} is not UTF-8"
        elif mark and not (session and speaker):
            reason = "the name is not SESSION_SPEAKER: no '_' with something on both sides"
        elif not is_file:
            reason = "not a file, or a link to nothing"
        elif (session, speaker) in found:
            reason = f"the same session and speaker as {found[session, speaker].name}, which is used"
        else:
            found[session, speaker] = path
            continue
        issues.append(Issue("skipped", path, None, reason))
    return found


def _suffix(name: str) -> str:
    """Return the suffix of a file name in lower case, and "" for hidden files such as macOS's `._x.wav`."""
    # A corpus may have a million names, and a Path for each is slow.
    return "" if name.startswith(".") else os.path.splitext(name)[1].lower()  # noqa: PTH122


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link in a circle, or into a folder without permission
        return False
