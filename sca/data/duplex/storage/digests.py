"""Digests of stored records."""

import json
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING

from sca.data.duplex.model.records import TrackRecord

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["chain_digests", "record_digest", "track_digest"]

_LEFT_OUT_IF_EMPTY = frozenset({"unlabelled"})


def record_digest(record: Mapping[str, object], *cells: "Iterable[bytes | pa.Buffer]") -> str:
    """Return a digest of the values of a record, whatever file contains them.

    Columns of later versions are left out where they are empty, so the digest of such a record is that of the version
    before.

    Args:
        record: Its plain columns.
        *cells: Its binary columns, each as blocks of bytes.
    """
    record = {name: value for name, value in record.items() if value or name not in _LEFT_OUT_IF_EMPTY}
    digest = blake2b(json.dumps(record, sort_keys=True, ensure_ascii=False).encode(), digest_size=16)
    for cell in cells:
        for block in cell:
            digest.update(block)
    return digest.hexdigest()


def track_digest(record: TrackRecord, *cells: "Iterable[bytes | pa.Buffer]") -> str:
    """Return the `record_digest` of a track. It is the same with and without the field of a repair that is null.

    Args:
        record: The track. Tracks of earlier versions do not have the field.
        *cells: Its binary columns, each as blocks of bytes.
    """
    provenance = record["provenance"]
    if provenance.get("repair") is not None:
        return record_digest(record, *cells)
    without = {name: value for name, value in provenance.items() if name != "repair"}
    return record_digest({**record, "provenance": without}, *cells)


def chain_digests(digests: Iterable[str]) -> str:
    """Return one digest of several, in order."""
    chained = blake2b(digest_size=16)
    for digest in digests:
        chained.update(digest.encode())
    return chained.hexdigest()
