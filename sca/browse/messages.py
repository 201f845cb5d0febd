"""The requests of the page."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["MAX_PAGE", "Filter", "HistogramsRequest", "MarkRequest", "RowsRequest"]

MAX_PAGE = 500
"""Most rows of a response."""

Bound = Annotated[float | None, Field(allow_inf_nan=False)]
Names = Annotated[list[str], Field(max_length=1000)]


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Filter(_Message):
    """Which rows are shown. A row has to satisfy all parts.

    Attributes:
        text: Text in what the speaker says, or in the id of the row; any case.
        ranges: Bounds `[least, end)` by the name of a number column; null for no bound.
        choices: Values by the name of another column: the row has one of them. The empty text stands for rows without any.
    """

    text: Annotated[str, Field(max_length=1000)] = ""
    ranges: dict[str, tuple[Bound, Bound]] = {}
    choices: dict[str, Names] = {}


class RowsRequest(_Message):
    """A part of the sorted table.

    Attributes:
        build: Of which data set.
        filter: Which rows.
        sort: The column to sort by; None for the order of the data set.
        descending: Whether the greatest value comes first.
        offset: The first row.
        limit: The number of rows.
    """

    build: Literal["here", "there"] = "here"
    filter: Filter = Filter()
    sort: str | None = None
    descending: bool = False
    offset: Annotated[int, Field(ge=0)] = 0
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = 100


class HistogramsRequest(_Message):
    """The distributions of the rows that a filter selects; that of a column is without the filter on this column."""

    filter: Filter = Filter()


class MarkRequest(_Message):
    """A mark for rows, given by their ids or by a filter.

    Attributes:
        rows: The ids of the rows.
        filter: All rows that it selects, if there are no ids.
        mark: `drop`, `look`, or None to remove the mark.
    """

    rows: Names = []
    filter: Filter | None = None
    mark: Literal["drop", "look"] | None
