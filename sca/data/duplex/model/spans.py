"""Spans of samples at 16 kHz."""

__all__ = ["Span"]

Span = tuple[int, int]
"""Samples `[start, end)` at 16 kHz."""
