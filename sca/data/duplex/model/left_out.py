"""Rows that were left out of a data set because they are on the list of `duplex.drops`."""

from pydantic import BaseModel, ConfigDict

__all__ = ["LeftOutRow"]


class LeftOutRow(BaseModel):
    """A row that was made and not stored.

    Attributes:
        row_id: Its id.
        chunks: Chunks until the next row of the same side.
        words: Words of the speaker in it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    row_id: str
    chunks: int
    words: int

    @property
    def first_chunk(self) -> int:
        """Its first chunk, counted in the session: the end of its id, -1 if that is not a number."""
        number = self.row_id.rpartition(":")[2]
        return int(number) if number.isdecimal() else -1

    def is_of(self, session_id: str, listener: str, speaker: str) -> bool:
        """Return whether it is a row of one side of a session."""
        return self.row_id.rpartition(":")[0] == f"{session_id}:{listener}>{speaker}"
