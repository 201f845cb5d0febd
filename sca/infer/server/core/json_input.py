"""JSON of clients, read so that nothing in it can fail later."""

from pydantic_core import from_json

__all__ = ["read_json"]


def read_json(data: str | bytes) -> object:
    """Return a JSON document.

    Args:
        data: The document, as text or UTF-8.

    Raises:
        ValueError: It is not JSON, is nested more than 200 times, or has an escape that is half of a surrogate pair, which
            no text can contain.
    """
    return from_json(data, allow_inf_nan=False)
