"""Readers of lists of recordings with their segments: data folders of Kaldi, manifests of NeMo, SpokenWOZ, tables."""

from collections.abc import Iterator
from pathlib import Path

from typing_extensions import override

from sca.data.corpora.base import BuiltinReader, Conversation, Issue
from sca.data.corpora.dialogue import conversations
from sca.data.corpora.packed.conversations import read_tables
from sca.data.corpora.packed.recordings import RecordingFiles
from sca.data.corpora.packed.rows import tables_in
from sca.data.corpora.segments.manifests import is_kaldi, is_spokenwoz, read_kaldi, read_nemo, read_spokenwoz
from sca.data.corpora.segments.model import Problem
from sca.data.runs.json_lines import first_objects
from sca.errors import InputError

__all__ = ["KaldiReader", "NemoReader", "SpokenWozReader", "TableReader"]


class KaldiReader(BuiltinReader):
    """The `CorpusReader` of Kaldi's data folders."""

    @override
    def matches(self, source: Path) -> bool:
        return is_kaldi(source)

    @override
    def read(self, source: Path) -> Iterator[Conversation | Issue]:
        if not is_kaldi(source):
            raise InputError(f"{source} is not a data folder of Kaldi", hint="expected wav.scp, segments and text")
        yield from conversations(read_kaldi(source), self.reading)


class NemoReader(BuiltinReader):
    """The `CorpusReader` of NeMo's manifests of segments."""

    @override
    def matches(self, source: Path) -> bool:
        return any("audio_filepath" in line for line in first_objects(source))

    @override
    def read(self, source: Path) -> Iterator[Conversation | Issue]:
        yield from conversations(read_nemo(source), self.reading)


class SpokenWozReader(BuiltinReader):
    """The `CorpusReader` of SpokenWOZ as it is distributed, with all dialogues in one file."""

    @override
    def matches(self, source: Path) -> bool:
        return is_spokenwoz(source)

    @override
    def read(self, source: Path) -> Iterator[Conversation | Issue]:
        yield from conversations(read_spokenwoz(source), self.reading)


class TableReader(BuiltinReader):
    """The `CorpusReader` of tables of Hugging Face with a recording of each speaker, or stereo recordings.

    Args:
        cache_dir: The cache folder, where the recordings are written.
    """

    def __init__(self, cache_dir: Path | None = None) -> None:
        self._cache_dir = cache_dir

    @override
    def matches(self, source: Path) -> bool:
        return bool(tables_in(source))

    @override
    def read(self, source: Path) -> Iterator[Conversation | Issue]:
        for found in read_tables(source, RecordingFiles(source, self._cache_dir)):
            if isinstance(found, Problem):
                yield Issue("skipped", source, None, found.reason)
            else:
                yield from conversations([found], self.reading)
