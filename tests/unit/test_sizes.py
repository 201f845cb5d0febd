"""Sizes in options: `--shard-size` with K of 1000 bytes, `--rate-limit` with K of 1024."""

import pytest

from sca.cli.shared.options import parse_size
from sca.errors import UsageError


@pytest.mark.parametrize(
    ("text", "size", "rate"),
    [
        ("7", 7, 7),
        ("10k", 10_000, 10_240),
        ("500K", 500_000, 512_000),
        ("200MB", 200_000_000, 200 << 20),
        ("1.5GiB", 3 << 29, 3 << 29),
        ("2 MiB", 2 << 20, 2 << 20),
        (" 1.5 m ", 1_500_000, 3 << 19),
        ("2M/s", 2_000_000, 2 << 20),
        ("2MiB/s", 2 << 20, 2 << 20),
        ("5iB", 5, 5),
        ("1.9", 1, 1),
    ],
)
def test_reads_sizes(text, size, rate):
    assert (parse_size(text, "--shard-size"), parse_size(text, "--rate-limit", kilo=1024)) == (size, rate)


@pytest.mark.parametrize("text", ["", "0", "0.1", "-5MB", "big", "1TB", "1e9", "nan", "inf", "9" * 400, "2M/m"])
def test_rejects_other_text(text):
    for option, kilo in (("--shard-size", 1000), ("--rate-limit", 1024)):
        with pytest.raises(UsageError, match=f"{option} should be a number of bytes up to 1 TiB") as caught:
            parse_size(text, option, kilo=kilo)
        assert f"K is {kilo} bytes" in caught.value.hint
