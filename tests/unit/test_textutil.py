"""Text helpers of messages."""

import pytest

from sca.textutil import counted, first_line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (counted(0, "row"), "0 rows"),
        (counted(1, "row"), "1 row"),
        (counted(2, "row"), "2 rows"),
        (counted(1, "line or file", "lines or files"), "1 line or file"),
        (counted(3, "line or file", "lines or files"), "3 lines or files"),
    ],
)
def test_counted_uses_singular_and_plural(text, expected):
    assert text == expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("first\nsecond"), "first"),
        (ValueError("\n  padded  \nsecond"), "padded  "),
        (KeyError(), "KeyError"),
        (RuntimeError(""), "RuntimeError"),
    ],
)
def test_first_line_of_an_exception(error, expected):
    assert first_line(error) == expected
