"""Numbers in sentences."""

import pytest

from sca.textutil import counted


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        (counted(0, "row"), "0 rows"),
        (counted(1, "row"), "1 row"),
        (counted(2, "row"), "2 rows"),
        (counted(1, "line or file", "lines or files"), "1 line or file"),
        (counted(3, "line or file", "lines or files"), "3 lines or files"),
    ],
)
def test_one_is_one_and_all_else_is_many(told, sentence):
    assert told == sentence
