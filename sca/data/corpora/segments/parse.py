"""Every transcript file of this package, read by its suffix and, where a suffix has several formats, by its content."""

from pathlib import Path

from sca.data.corpora.segments.channel_lines import read_ctm, read_stm
from sca.data.corpora.segments.cues import read_cues
from sca.data.corpora.segments.model import Parsed
from sca.data.corpora.segments.recogniser_json import read_json
from sca.data.corpora.segments.tables import read_labels, read_table
from sca.data.corpora.segments.telephone import is_fisher, is_ms98, read_chat, read_fisher, read_ms98
from sca.data.corpora.segments.tiers import read_eaf, read_textgrid

__all__ = ["read_segments"]

_READERS = {
    ".textgrid": read_textgrid,
    ".eaf": read_eaf,
    ".vtt": read_cues,
    ".srt": read_cues,
    ".csv": read_table,
    ".tsv": read_table,
    ".json": read_json,
    ".cha": read_chat,
    ".ctm": read_ctm,
    ".stm": read_stm,
}


def read_segments(path: Path) -> Parsed:
    """Read the segments of a transcript, one at a time.

    Raises:
        ValueError: The file cannot be read, or its format does not match its suffix.
        MissingToolError: The library that reads the format is not installed.
    """
    if reader := _READERS.get(path.suffix.lower()):
        return reader(path)
    if is_fisher(path):
        return read_fisher(path)
    if is_ms98(path):
        return read_ms98(path)
    return read_labels(path)
