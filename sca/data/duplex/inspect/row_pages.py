"""Write pages with audio of the rows to look at beside `report.html`, and link them there."""

from collections.abc import Callable, Iterator
from itertools import islice

from sca.data.duplex.inspect.html import write_page
from sca.data.duplex.inspect.page_files import FOLDER, page_name, record_pages, remove_outdated_pages
from sca.data.duplex.inspect.report_page import write_report_page
from sca.data.duplex.inspect.view import open_view
from sca.data.duplex.report.distributions import plots
from sca.data.duplex.report.survey import Survey, survey
from sca.data.duplex.storage.reader import DatasetReader
from sca.data.runs.executor import UnexpectedError, guarded
from sca.data.runs.summary import ItemReason
from sca.errors import InputError
from sca.tokenizer import TextTokenizer

__all__ = ["write_row_pages"]


def write_row_pages(
    reader: DatasetReader,
    tokenizer: TextTokenizer,
    count: int,
    *,
    on_start: Callable[[int, int], None],
    on_page: Callable[[str, float], None],
) -> tuple[dict[str, str], list[ItemReason]]:
    """Write pages of the rows with findings, then of the worst rows, then of the first rows, and `report.html` with links.

    Args:
        reader: The data set.
        tokenizer: The tokenizer of the data set.
        count: Number of pages.
        on_start: Called with the number of pages, twice.
        on_page: Called after each page with the id of its row and the seconds of its audio.

    Returns:
        The pages by id of their row, as paths from the data set, and the rows whose page could not be made, with reasons.
    """
    found = survey(reader.batches(), float(reader.grid.chunk_s), reader.report)
    rows = list(islice(_rows(reader, found), count))
    remove_outdated_pages(reader.root, reader.report)
    on_start(len(rows), len(rows))
    shown = plots(reader.report, found.histograms)
    pages: dict[str, str] = {}
    failed: list[ItemReason] = []

    def write(row: str) -> float:
        view = open_view(reader, tokenizer, row)
        write_page(reader.root / FOLDER / page_name(row), reader.report, shown, view)
        return view.duration_s

    for row in rows:
        try:
            seconds = guarded(write, row)
        except (InputError, UnexpectedError) as error:
            failed.append(ItemReason(row, error.message))
            seconds = 0.0
        else:
            pages[row] = f"{FOLDER}/{page_name(row)}"
        on_page(row, seconds)
    record_pages(reader.root, reader.report, list(pages))
    write_report_page(reader.root, reader.report, found)
    return pages, failed


def _rows(reader: DatasetReader, found: Survey) -> Iterator[str]:
    """Yield the ids of all rows once, the most interesting first."""
    wanted = [row for _, row in sorted(found.rows_of_findings.items())] + [row.row_id for row in found.worst]
    seen = set(wanted)
    yield from dict.fromkeys(wanted)
    for batch in reader.batches():
        yield from (row for row in batch.column("row_id").to_pylist() if row not in seen)
