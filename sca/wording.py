"""Numbers in sentences: one helper for all that is counted and told."""

__all__ = ["counted"]


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """`1 row`, `2 rows`.   plural: of a noun that does not just take an s."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"
