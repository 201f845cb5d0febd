"""One pass over all rows: histograms, the rows to look at, and the rows in which the findings are."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import nlargest
from typing import TYPE_CHECKING, Any

import numpy as np

from sca.data.duplex.report.distributions import Histograms, add_batch, empty_histograms
from sca.data.duplex.report.verdict import BAD_FLAGS

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["SHOWN_FINDINGS", "SHOWN_ROWS", "Survey", "WorstRow", "survey"]

SHOWN_FINDINGS = 100
"""That many findings, the worst ones, are looked up in the rows."""

SHOWN_ROWS = 20
"""That many rows to look at are kept."""
# Flags of exceptional cuts and placements, the worst first. The others describe augmentation or long units.
_FLAGS = (*BAD_FLAGS, "listener_cut", "extended")


@dataclass(frozen=True, slots=True)
class WorstRow:
    """A row with late tokens or exceptional cuts.

    Attributes:
        row_id: Its id.
        seconds: Its length.
        late_s: The largest delay of a token.
        flags: Its flags that are exceptional.
    """

    row_id: str
    seconds: float
    late_s: float
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Survey:
    """What the rows show.

    Attributes:
        histograms: Histograms over the rows.
        worst: The rows to look at, the worst first.
        rows_of_findings: The id of the row in which a finding is, by its number among all findings.
    """

    histograms: Histograms
    worst: tuple[WorstRow, ...]
    rows_of_findings: Mapping[int, str]


def survey(batches: "Iterable[pa.RecordBatch]", chunk_s: float, report: Mapping[str, Any]) -> Survey:
    """Read all rows.

    Args:
        batches: The rows.
        chunk_s: Length of a chunk in seconds.
        report: The content of `report.json`.
    """
    counts = empty_histograms()
    worst: list[WorstRow] = []
    places = _Places(((report.get("evidence") or {}).get("findings") or [])[:SHOWN_FINDINGS], chunk_s)
    for batch in batches:
        add_batch(counts, batch, chunk_s)
        worst = nlargest(SHOWN_ROWS, [*worst, *_candidates(batch, chunk_s)], key=_badness)
        places.look(batch)
    return Survey(counts, tuple(worst), places.found)


def _badness(row: WorstRow) -> tuple[float, int, str]:
    flags = max((len(_FLAGS) - _FLAGS.index(flag) for flag in row.flags), default=0)
    return row.late_s, flags, row.row_id


def _candidates(batch: "pa.RecordBatch", chunk_s: float) -> Iterator[WorstRow]:
    """Yield the rows of a batch with late tokens or exceptional flags."""
    segments = batch.column("segments")
    lags = np.zeros(batch.num_rows, np.int64)
    row_of = np.repeat(np.arange(batch.num_rows), np.diff(segments.offsets.to_numpy()))
    np.maximum.at(lags, row_of, segments.flatten().field("lag_chunks").to_numpy(zero_copy_only=False))
    flags = batch.column("flags")
    flagged = np.diff(flags.offsets.to_numpy()) > 0
    for at in np.flatnonzero((lags > 0) | flagged).tolist():
        bad = tuple(flag for flag in _FLAGS if flag in flags[at].as_py())
        if lags[at] > 0 or bad:
            yield WorstRow(
                row_id=batch.column("row_id")[at].as_py(),
                seconds=batch.column("n_chunks")[at].as_py() * chunk_s,
                late_s=max(0, int(lags[at])) * chunk_s,
                flags=bad,
            )


class _Places:
    """Looks up the rows of findings. `found` has the id of a row by the number of a finding."""

    def __init__(self, findings: Sequence[Mapping[str, Any]], chunk_s: float) -> None:
        self._chunk_s = chunk_s
        self._findings: dict[str, list[tuple[int, Mapping[str, Any]]]] = defaultdict(list)
        for number, finding in enumerate(findings):
            self._findings[finding["session"]].append((number, finding))
        self.found: dict[int, str] = {}

    def look(self, batch: "pa.RecordBatch") -> None:
        """Look up the findings in the rows of a batch."""
        if not self._findings:
            return
        names = ("row_id", "session_id", "speaker", "start_chunk", "n_chunks")
        sessions = batch.column("session_id").to_pylist()
        for at in (at for at, session in enumerate(sessions) if session in self._findings):
            row_id, session, speaker, first, count = (batch.column(name)[at].as_py() for name in names)
            for number, finding in self._findings[session]:
                inside = first * self._chunk_s <= finding["at_s"] < (first + count) * self._chunk_s
                if inside and finding["speaker"] in ("", speaker):
                    self.found.setdefault(number, row_id)
