"""The Rich console of the commands: data is printed literally, and nothing in it reaches the terminal as a command.

Names, titles and transcripts come from files and sites. Here their control characters become visible escapes, markup such
as `[v1]` or `:smile:` has no meaning, and no column of a table is cut. Importing this module imports Rich.
"""

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text
from typing_extensions import override

from sca.textutil import printable
from sca.urls.shown import with_urls

__all__ = ["SafeConsole", "data_table", "print_table"]

_UNBOUNDED = 100_000
"""Columns of a table in a pipe."""


class SafeConsole(Console):
    """A console that prints each string as one literal line; styles are given as `Text`."""

    def __init__(self, *, to_stderr: bool = False, width: int | None = None) -> None:
        super().__init__(
            stderr=to_stderr, width=width, soft_wrap=True, markup=False, emoji=False, highlight=False, log_path=False
        )

    @override
    def render_str(self, text: str, **options: Any) -> Text:
        # Before the layout, because an escape is wider than the character.
        return super().render_str(printable(with_urls(text)), **options)

    @override
    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        # What is not a string, such as a `Text` with a title in it.
        for segment in super().render(renderable, options):
            is_safe = segment.control or segment.text == "\n" or segment.text.isprintable()
            yield segment if is_safe else Segment(_lines(segment.text), segment.style)

    @override
    def on_broken_pipe(self) -> None:
        # Rich would end with exit code 1; `sca.cli.main` ends quietly, as for any other write.
        raise BrokenPipeError


def _lines(text: str) -> str:
    return "\n".join(printable(line) for line in text.split("\n"))


def data_table(*headings: str) -> Table:
    """Return a table without lines, whose cells are folded and never cut."""
    table = Table(box=None, pad_edge=False, show_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def print_table(table: Table) -> None:
    """Print a table on stdout: in a pipe each row is one line; on a terminal cells are folded to its width.

    A terminal too narrow for the columns that must not be folded gets the lines of the pipe, which it folds itself.
    """
    console = SafeConsole()
    needed = console.measure(table).minimum
    if not console.is_terminal or needed > console.width:
        console = SafeConsole(width=_UNBOUNDED)
    console.print(table, soft_wrap=False, crop=False)
