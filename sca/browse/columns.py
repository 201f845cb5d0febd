"""The columns of the table of rows: what they are called, how they are filtered, and the bins of their distributions."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["BY_NAME", "COLUMNS", "Column", "ColumnKind"]

ColumnKind = Literal["number", "choice", "set"]


@dataclass(frozen=True, slots=True)
class Column:
    """A column.

    Attributes:
        name: Its name in the index and in requests.
        kind: `number`; `choice`, one of several texts; or `set`, any number of them.
        label: Its heading.
        note: What it is.
        unit: Unit of its numbers: `s`, `%` for shares of 1, or none.
        shown: Whether the table has it.
    """

    name: str
    kind: ColumnKind
    label: str
    note: str
    unit: Literal["", "s", "%"] = ""
    shown: bool = True


COLUMNS = (
    Column("split", "choice", "Split", "split of the row", shown=False),
    Column("speaker", "choice", "Speaker", "speaker that the row teaches to speak"),
    Column("findings", "set", "Findings", "places in the row where words and sound do not belong together"),
    Column("flags", "set", "Flags", "exceptional cuts and placements"),
    Column("lag_s", "number", "Lag", "the most that a token is placed too late", "s"),
    Column("overlap", "number", "Overlap", "share of the speaker's segments during which a listener speaks too", "%"),
    Column(
        "words_in_speech",
        "number",
        "Words in speech",
        "share of the words of the speaker, by time, with speech in the track; of the whole session",
        "%",
    ),
    Column("bleed", "number", "Cross-talk", "share of the session in which a track has sound of another speaker", "%"),
    Column("seconds", "number", "Length", "length of the row", "s"),
    Column("words", "number", "Words", "words of the speaker in the row"),
    Column("speech", "number", "Speech", "share of the row that segments of the speaker cover", "%"),
    Column("turns", "number", "Turns", "segments that are turns"),
    Column("backchannels", "number", "Backchannels", "segments that are backchannels"),
    Column("interruptions", "number", "Interruptions", "segments that are interruptions"),
    Column("kinds", "set", "Kinds", "kinds of segments in the row", shown=False),
    Column("align_source", "choice", "Word times", "origin of the word times"),
    Column(
        "unlabelled",
        "number",
        "No label",
        "share of the chunks that are not labels, because the words are unknown",
        "%",
    ),
    Column("left_out", "number", "Left out", "tokens left out of the row because they lag"),
)
"""The columns, in order. What a data set does not have, such as a measurement of words against speech, is empty."""

BY_NAME = {column.name: column for column in COLUMNS}
