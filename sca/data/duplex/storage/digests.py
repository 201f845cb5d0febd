"""Digests of stored records."""

import json
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["chain_digests", "record_digest"]

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


def chain_digests(digests: Iterable[str]) -> str:
    """Return one digest of several, in order."""
    chained = blake2b(digest_size=16)
    for digest in digests:
        chained.update(digest.encode())
    return chained.hexdigest()
