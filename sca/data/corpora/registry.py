"""Which layout a corpus has, and one way to read them all: as the MagicHub files that the builder knows."""

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sca.data.corpora import lhotse, magichub, moshi, stereo
from sca.data.corpora import shows as events
from sca.data.corpora.base import CorpusFormat, Skipped
from sca.data.corpora.magichub import KEPT, Scan
from sca.data.corpora.staging import ForeignSession, Reader, stage, sweep
from sca.errors import InputError, UsageError

__all__ = ["Corpus", "layout_of", "open_corpus"]

_LOOKED_AT = 20
_LISTS_IN = {CorpusFormat.moshi: ("data.jsonl",), CorpusFormat.lhotse: ("cuts.jsonl.gz", "cuts.jsonl")}
_LINES_OF: dict[CorpusFormat, Callable[[dict[str, object]], bool]] = {
    CorpusFormat.moshi: lambda line: "path" in line,
    CorpusFormat.lhotse: lambda line: "recording" in line and "supervisions" in line,
    CorpusFormat.events: lambda line: "video_id" in line and "timeline" in line,
}
_EXPECTED = (
    "give a folder with WAV/ and TXT/, a folder of stereo recordings with transcripts, or a list: moshi-finetune's data.jsonl, "
    "lhotse's cuts.jsonl.gz, what sca transcribe wrote"
)


@dataclass(frozen=True, slots=True)
class Corpus:
    """A corpus that holds at least one session. `read` gives those of another layout than ours, one at a time."""

    source: Path
    native: Scan
    read: Reader | None

    def scan(self, folder: Path) -> Scan:
        """All sessions as files; the texts of those of another layout are written below `folder`."""
        if self.read is None:
            return self.native
        sessions, skipped = {}, []
        for found in self.read():
            if isinstance(found, Skipped):
                skipped.append(found)
            elif found.session_id in sessions:
                which = f"{found.tracks[0].audio.name} is in the list already, or named like one that is"
                skipped.append(Skipped(self.source, found.line, f"{which}: session {found.session_id}"))
            else:
                sessions[found.session_id] = stage(found, folder)
        sweep(folder, sessions.values())
        return Scan(tuple(sessions[name] for name in sorted(sessions)), tuple(skipped))


def open_corpus(source: Path, layout: CorpusFormat = CorpusFormat.auto, audio_dir: Path | None = None) -> Corpus:
    """Look into a corpus. audio_dir: where the recordings of an events file are, its own folder by default.

    Raises `InputError` when it is no such corpus or holds no session that can be used, `UsageError` for an `audio_dir` that has
    nothing to do with it.
    """
    source = _known_list(source, layout)
    if layout is CorpusFormat.auto:
        layout = layout_of(source)
    if audio_dir is not None and layout is not CorpusFormat.events:
        raise UsageError(
            f"{source} is a {layout} corpus, which says itself where its recordings are: leave --audio-dir out"
        )
    if layout is CorpusFormat.magichub:
        scan = magichub.scan(source)
        if not scan.sessions:
            raise _unusable(source, scan.skipped)
        return Corpus(source, scan, None)
    readers: dict[CorpusFormat, Reader] = {
        CorpusFormat.moshi: partial(moshi.read, source),
        CorpusFormat.lhotse: partial(lhotse.read, source),
        CorpusFormat.events: partial(events.read, source, audio_dir or source.parent),
        CorpusFormat.stereo: partial(stereo.read, source),
    }
    skipped: list[Skipped] = []
    for found in readers[layout]():
        if isinstance(found, ForeignSession):
            return Corpus(source, Scan((), ()), readers[layout])
        if not found.reason.startswith(KEPT):
            skipped.append(found)
    raise _unusable(source, tuple(skipped))


def layout_of(source: Path) -> CorpusFormat:
    """The layout of a folder or a file, by what is in it. Raises `InputError` for a file that is none of them."""
    if source.is_dir():
        return CorpusFormat.stereo if stereo.is_corpus(source) else CorpusFormat.magichub
    if not source.exists() and not source.suffix:
        return CorpusFormat.magichub  # whose complaint says what a corpus looks like
    for line in _first_lines(source):
        try:
            plain = json.loads(line)
        except ValueError:
            continue
        for layout, fits in _LINES_OF.items():
            if isinstance(plain, dict) and fits(plain):
                return layout
    raise InputError(f"{source} is neither a folder nor a list that names recordings", hint=_EXPECTED)


def _known_list(source: Path, layout: CorpusFormat) -> Path:
    """The list in a folder that one of our exports, or another tool, wrote under its usual name; else the folder itself."""
    asked = _LISTS_IN if layout is CorpusFormat.auto else [layout]
    names = [name for one in asked for name in _LISTS_IN.get(one, ())]
    lists = [source / name for name in names if (source / name).is_file()]
    return lists[0] if len(lists) == 1 else source


def _first_lines(source: Path) -> list[bytes]:
    try:
        with gzip.open(source) if source.suffix == ".gz" else source.open("rb") as file:
            return [line for line, _ in zip((line for line in file if line.strip()), range(_LOOKED_AT), strict=False)]
    except (OSError, EOFError) as error:
        raise InputError(f"{source} cannot be read ({error})", hint=_EXPECTED) from error


def _unusable(source: Path, skipped: tuple[Skipped, ...]) -> InputError:
    reasons = "; ".join(str(report) for report in skipped[:3])
    return InputError(f"{source} has no session with two speakers{': ' + reasons if reasons else ''}")
