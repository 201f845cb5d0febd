"""Digests of stored rows."""

import json
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

__all__ = ["chain", "digest_of"]


def digest_of(record: dict[str, Any], *audio: Iterable[Any]) -> str:
    """A digest of a row's values, whatever file they are in: its plain columns as JSON, then its audio's bytes, in blocks."""
    digest = blake2b(json.dumps(record, sort_keys=True, ensure_ascii=False).encode(), digest_size=16)
    for cell in audio:
        for block in cell:
            digest.update(block)
    return digest.hexdigest()


def chain(digests: Any) -> str:
    """One digest of many, in order."""
    digest = blake2b(digest_size=16)
    for one in digests:
        digest.update(one.encode())
    return digest.hexdigest()
