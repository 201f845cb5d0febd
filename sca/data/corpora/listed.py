"""Readers of lists of recordings with their segments: Kaldi's data folders and NeMo's manifests."""

from collections.abc import Iterator
from pathlib import Path

from typing_extensions import override

from sca.data.corpora.base import Conversation, CorpusReader, Issue
from sca.data.corpora.dialogue import conversations
from sca.data.corpora.segments.manifests import is_kaldi, read_kaldi, read_nemo
from sca.data.runs.json_lines import first_objects
from sca.errors import InputError

__all__ = ["KaldiReader", "NemoReader"]


class KaldiReader(CorpusReader):
    """The `CorpusReader` of Kaldi's data folders."""

    @override
    def matches(self, source: Path) -> bool:
        return is_kaldi(source)

    @override
    def read(self, source: Path) -> Iterator[Conversation | Issue]:
        if not is_kaldi(source):
            raise InputError(f"{source} is not a data folder of Kaldi", hint="expected wav.scp, segments and text")
        yield from conversations(read_kaldi(source))


class NemoReader(CorpusReader):
    """The `CorpusReader` of NeMo's manifests of segments."""

    @override
    def matches(self, source: Path) -> bool:
        return any("audio_filepath" in line for line in first_objects(source))

    @override
    def read(self, source: Path) -> Iterator[Conversation | Issue]:
        yield from conversations(read_nemo(source))
