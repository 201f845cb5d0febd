"""Detection of the layout of a corpus, and one way to read every layout.

The built-in readers are those of `CorpusFormat`. Installed packages add readers under the entry-point group
`sca.corpora`; `CorpusReader` describes their interface. Built-in names take precedence.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from sca.audio.coded.reading import ACCEPT_ANY_DAMAGE_S, ANY_DAMAGE, Reading
from sca.data.corpora.base import BuiltinReader, Conversation, CorpusFormat, CorpusReader, Issue
from sca.data.corpora.diarized.separate import Separation
from sca.data.corpora.lhotse import LhotseReader
from sca.data.corpora.listed import KaldiReader, NemoReader, SpokenWozReader, TableReader
from sca.data.corpora.magichub import MagicHubReader, is_nearest_layout
from sca.data.corpora.moshi import MoshiReader
from sca.data.corpora.session_source import SessionSource, packed_source
from sca.data.corpora.shows import ShowReader
from sca.data.corpora.stereo import StereoReader
from sca.data.corpora.validation import validated
from sca.data.media.find_audio import SOUND
from sca.data.media.folder_contents import describe_files, suffixes_in
from sca.errors import InputError, MissingToolError, UsageError, unknown_name
from sca.plugins import load_plugin, plugin_names

__all__ = ["Corpus", "Sessions", "corpus_formats", "detect_format", "open_corpus"]

# In the order in which the layout is detected.
_READERS: dict[str, Callable[[], CorpusReader]] = {
    CorpusFormat.kaldi: KaldiReader,
    CorpusFormat.spokenwoz: SpokenWozReader,
    CorpusFormat.stereo: StereoReader,
    CorpusFormat.magichub: MagicHubReader,
    CorpusFormat.moshi: MoshiReader,
    CorpusFormat.lhotse: LhotseReader,
    CorpusFormat.events: ShowReader,
    CorpusFormat.nemo: NemoReader,
    CorpusFormat.table: TableReader,
}
_PACKED: dict[str, Callable[[Path | None], CorpusReader]] = {
    CorpusFormat.lhotse: LhotseReader,
    CorpusFormat.table: TableReader,
}
_LISTS_IN: dict[str, tuple[str, ...]] = {
    CorpusFormat.moshi: ("data.jsonl",),
    CorpusFormat.lhotse: ("cuts.jsonl.gz", "cuts.jsonl"),
}
# Names that other files can have too: their content decides.
_OTHER_LISTS_IN: dict[str, tuple[str, ...]] = {
    CorpusFormat.lhotse: ("recordings.jsonl.gz", "recordings.jsonl"),
    CorpusFormat.nemo: ("manifest.json", "manifest.jsonl"),
}
_CONTENTS = {
    CorpusFormat.magichub: "WAV/ and TXT/",
    CorpusFormat.moshi: "data.jsonl of moshi-finetune",
    CorpusFormat.lhotse: "cuts.jsonl.gz",
    CorpusFormat.events: "the output of sca transcribe",
    CorpusFormat.stereo: "recordings with a transcript beside each",
    CorpusFormat.kaldi: "wav.scp, segments and text",
    CorpusFormat.nemo: "manifest.json",
    CorpusFormat.spokenwoz: "audio and data.json",
    CorpusFormat.table: "Parquet or another table of Hugging Face",
}
"""What is in a corpus of each layout, for hints."""
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")
_MAX_REASONS = 3


@dataclass(frozen=True, slots=True)
class Sessions:
    """The sessions of a corpus sorted by id, and the issues about items that do not make one."""

    sources: tuple[SessionSource, ...]
    issues: tuple[Issue, ...]


@dataclass(frozen=True, slots=True)
class Corpus:
    """A corpus with at least one session.

    Attributes:
        source: The file or folder with the content of the corpus.
        reader: The reader of its layout.
    """

    source: Path
    reader: CorpusReader

    def sessions(self) -> Sessions:
        """Find all sessions."""
        sources: list[SessionSource] = []
        issues: list[Issue] = []
        for found in self._find():
            if isinstance(found, Issue):
                issues.append(found)
            else:
                sources.append(found)
        return Sessions(tuple(sorted(sources, key=lambda source: source.session_id)), tuple(issues))

    def conversations(self) -> Iterator[Conversation | Issue]:
        """Read all conversations one at a time; yield an `Issue` for each item that does not make one."""
        for found in self._find():
            if isinstance(found, Issue):
                yield found
                continue
            try:
                yield found.read()
            except InputError as error:
                yield Issue("skipped", found.files[0], None, error.message)

    def require_session(self) -> None:
        """Check that the corpus has a session, without reading the others.

        Raises:
            InputError: It has none; the message has the first reasons.
        """
        reasons: list[str] = []
        for found in self._find():
            if not isinstance(found, Issue):
                return
            if found.level == "skipped" and len(reasons) < _MAX_REASONS:
                reasons.append(str(found))
        why = f": {'; '.join(reasons)}" if reasons else ""
        raise InputError(f"{self.source} has no session with two speakers{why}")

    def _find(self) -> Iterator[SessionSource | Issue]:
        if isinstance(self.reader, MagicHubReader):
            yield from self.reader.sources(self.source)
            return
        seen: set[str] = set()
        for found in self.reader.read(self.source):
            if isinstance(found, Issue):
                yield found
                continue
            try:
                conversation = validated(found)
            except ValueError as error:
                yield Issue("skipped", self.source, found.line, str(error))
                continue
            if conversation.session_id in seen:
                audio = conversation.tracks[0].audio.name
                reason = f"{audio} is in the list already, or named like one that is: session {conversation.session_id}"
                yield Issue("skipped", self.source, conversation.line, reason)
            else:
                seen.add(conversation.session_id)
                yield packed_source(conversation)


def corpus_formats() -> list[str]:
    """Return the names of all layouts: the built-in ones, then those of installed packages."""
    builtin = [name.value for name in CorpusFormat]
    return builtin + [name for name in plugin_names("sca.corpora") if name not in builtin]


def open_corpus(
    source: Path,
    layout: str = CorpusFormat.auto,
    audio_dir: Path | None = None,
    cache_dir: Path | None = None,
    separate: Path | None = None,
    reading: Reading = ANY_DAMAGE,
) -> Corpus:
    """Open a corpus.

    Args:
        source: A file or folder.
        layout: A name of `corpus_formats`.
        audio_dir: The folder of the recordings of an events file; by default the file's own.
        cache_dir: The folder where recordings from tables and archives are written; by default that of the user.
        separate: The model that separates overlapping speech of an events file; None leaves it out.
        reading: The track of the recordings to look at. Damage matters later, when they are read.

    Raises:
        InputError: The source does not have that layout, or has no session that can be used.
        UsageError: The layout is unknown, or has no use for `audio_dir` or `separate`.
        MissingToolError: A package that provides the layout does not work, or the separation model does not exist.
    """
    source = _list_in(source, layout)
    name = detect_format(source) if layout == CorpusFormat.auto else layout
    if audio_dir is not None and name != CorpusFormat.events:
        raise UsageError(
            f"{source} is a {name} corpus, and those contain the paths of their recordings: leave --audio-dir out"
        )
    if separate is not None and name != CorpusFormat.events:
        raise UsageError(f"{source} is a {name} corpus with a recording or channel per speaker: leave --separate out")
    separation = None if separate is None else Separation(separate, cache_dir)
    reading = replace(reading, accept_damage_s=ACCEPT_ANY_DAMAGE_S)
    reader = ShowReader(audio_dir, separation, reading) if name == CorpusFormat.events else _reader(name, cache_dir)
    if isinstance(reader, BuiltinReader):
        reader.reading = reading
    corpus = Corpus(source, reader)
    try:
        corpus.require_session()
    except InputError as error:
        other = None if layout == CorpusFormat.auto else _other_layout(source, name, error)
        raise (other or error) from error.__cause__
    return corpus


def _expected() -> str:
    """Return the layouts that exist, with what is in a corpus of each."""
    contents = {str(name): text for name, text in _CONTENTS.items()}
    names = [name for name in corpus_formats() if name != CorpusFormat.auto]
    return f"layouts: {'; '.join(f'{name} ({contents[name]})' if name in contents else name for name in names)}"


def _other_layout(source: Path, name: str, error: InputError) -> InputError | None:
    """Return the error for a corpus that does not have the layout that was asked for; None if it has it.

    Args:
        source: The corpus.
        name: The layout.
        error: Why it cannot be read.
    """
    if not source.exists() or _matches(name, source):
        return None
    reason = "" if isinstance(error.__cause__, IsADirectoryError) else f": {error.message}"
    found = f"; found {describe_files(suffixes_in(source))}" if source.is_dir() else ""
    other = next((known for known in corpus_formats()[1:] if _matches(known, source)), None)
    names = ", ".join(corpus_formats()[1:])
    hint = f"it has the layout {other}: give that, or leave --format out; layouts: {names}" if other else _expected()
    return InputError(f"{source} does not have the layout {name}{reason}{found}", hint=hint)


def _matches(name: str, source: Path) -> bool:
    try:
        return _reader(name).matches(source)
    except InputError:
        return False


def detect_format(source: Path) -> str:
    """Return the name of the layout of a folder or a file, by its content.

    Raises:
        InputError: It has none of the layouts.
    """
    # The MagicHub reader's error describes what a corpus looks like.
    fallback = source.is_dir() or (not source.exists() and not source.suffix)
    if source.exists() or not fallback:
        try:
            if found := next((name for name, reader in _READERS.items() if reader().matches(source)), None):
                return found
        except InputError as error:
            raise InputError(error.message, hint=_expected()) from error
        for name in plugin_names("sca.corpora"):
            if name not in _READERS and _reader(name).matches(source):
                return name
    if source.is_dir() and not is_nearest_layout(source):
        raise _unknown_layout(source)
    if fallback:
        return CorpusFormat.magichub
    raise InputError(f"{source} is neither a folder nor a list that names recordings", hint=_expected())


def _unknown_layout(folder: Path) -> InputError:
    """Return the error for a folder that no reader knows: the files in it, and the layout that is nearest to them."""
    suffixes = suffixes_in(folder)
    what = f"{folder} has the layout of no corpus that sca reads; found {describe_files(suffixes)}"
    if not suffixes:
        hint = "the folder is empty"
    elif any(suffixes[suffix] for suffix in _ARCHIVES) and not suffixes.keys() & SOUND:
        hint = "unpack the archives, and give the folder with the recordings and transcripts"
    elif not suffixes.keys() & SOUND:
        hint = f"the recordings are missing: put each beside its transcript, with the same name; or {_expected()}"
    elif len(suffixes) == 1:
        hint = f"the transcripts are missing: put each beside its recording, with the same name; or {_expected()}"
    else:
        hint = f"give each recording a transcript of the same name in a format that is read; or {_expected()}"
    return InputError(what, hint=hint)


def _reader(name: str, cache_dir: Path | None = None) -> CorpusReader:
    if name in _PACKED:
        return _PACKED[name](cache_dir)
    if name in _READERS:
        return _READERS[name]()
    plugin = load_plugin("sca.corpora", name)
    if plugin is None:
        raise unknown_name(f"{name} is not a corpus format", name, corpus_formats())
    reader = plugin() if isinstance(plugin, type) else plugin
    if not isinstance(reader, CorpusReader):
        raise MissingToolError(
            f"the sca.corpora plugin {name} does not have the methods matches and read",
            hint="update or uninstall its package",
        )
    return reader


def _list_in(source: Path, layout: str) -> Path:
    """Return the list in a folder that has one with its usual name, and other sources unchanged."""
    formats = _LISTS_IN if layout == CorpusFormat.auto else [layout]
    names = [name for known in formats for name in _LISTS_IN.get(known, ())]
    lists = [source / name for name in names if (source / name).is_file()]
    if lists:
        return lists[0] if len(lists) == 1 else source
    formats = _OTHER_LISTS_IN if layout == CorpusFormat.auto else [layout]
    others = [(known, source / name) for known in formats for name in _OTHER_LISTS_IN.get(known, ())]
    return next((path for known, path in others if path.is_file() and _matches(known, path)), source)
