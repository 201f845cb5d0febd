"""Encodings of text files: UTF-8, UTF-16, GBK, EUC-KR and Latin-1 are detected from the bytes.

UTF-8 has precedence. A file in which more lines with other letters are UTF-8 than are not is UTF-8 with invalid lines;
their bytes become lone surrogates, so that one invalid byte costs one line.
"""

import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from pathlib import Path
from typing import NamedTuple

from sca.files.bounded import MAX_LINE_BYTES, read_whole, too_large

__all__ = ["DecodedText", "decode_text", "lines_of", "raw_lines_of", "read_text"]

_MAX_NULS = 0.01
_UTF16_NULS = 0.3  # the share of zero bytes on one side of the pairs, if a fair part of the text is ASCII
_PAIRED = 0.8
_HANGUL = 0.95
_MIN_HANGUL_PAIRS = 8
_OTHER = re.compile(rb"[\x80-\xff]+")
_LATIN_LETTERS = frozenset(range(0xC0, 0x100)) - {0xD7, 0xF7}
_LATIN_MARKS = frozenset(b"\x85\x91\x92\x93\x94\x96\x97\xa0\xa1\xab\xb0\xb4\xb7\xbb\xbf")


class DecodedText(NamedTuple):
    """The text of a file, and the name of its encoding if that is not UTF-8."""

    text: str
    encoding: str | None = None


def read_text(path: Path) -> DecodedText:
    """Read a text file.

    Raises:
        ValueError: The file cannot be read, or is not text; the message is the reason.
    """
    try:
        decoded = decode_text(read_whole(path))
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror or error})") from error
    if decoded is None:
        raise ValueError(f"{path} is not text (binary, or in an encoding other than UTF-8, UTF-16, GBK and Latin-1)")
    try:
        decoded.text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{path} is not UTF-8, UTF-16, GBK or Latin-1") from error
    return decoded


def lines_of(path: Path) -> list[tuple[int, str]]:
    """Return the lines of a text file with their numbers from 1, stripped on the right.

    Raises:
        ValueError: The file cannot be read, or is not text.
    """
    return [(number, line.rstrip()) for number, line in raw_lines_of(path)]


def raw_lines_of(path: Path) -> list[tuple[int, str]]:
    """Return the lines of a text file with their numbers from 1, without the marks of their ends.

    Raises:
        ValueError: The file cannot be read, or is not text.
    """
    lines = list(enumerate(read_text(path).text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), 1))
    for number, line in lines:
        if len(line) > MAX_LINE_BYTES:
            raise too_large(f"line {number} of {path}", MAX_LINE_BYTES)
    return lines


def decode_text(raw: bytes) -> DecodedText | None:
    """Return the text of a file, without a byte order mark; None if it is binary.

    Bytes that are invalid in a UTF-8 file become lone surrogates.
    """
    if (decoded := _utf16(raw)) is not None:
        return decoded
    if raw.count(0) > _MAX_NULS * len(raw):
        return None
    body = raw.removeprefix(BOM_UTF8)
    text = body.decode(errors="surrogateescape")
    if body is not raw and len(body) < len(raw):
        return DecodedText(text)
    lines = [line for line in re.split(rb"[\r\n]", body) if not line.isascii()]
    valid = sum(_decodes(line, "utf-8") for line in lines)
    if valid == len(lines) or valid * 2 > len(lines):
        return DecodedText(text)
    encoding = _double_byte(body) or _single_byte(body)
    return DecodedText(text) if encoding is None else DecodedText(body.decode(encoding[0]), encoding[1])


def _utf16(raw: bytes) -> DecodedText | None:
    """Return the text if the bytes are UTF-16, with or without a byte order mark."""
    if raw.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        name = "utf-16"
    elif len(raw) >= 8 and len(raw) % 2 == 0:
        half = len(raw) // 2
        even, odd = raw[::2].count(0), raw[1::2].count(0)
        if max(even, odd) < _UTF16_NULS * half or min(even, odd) > _MAX_NULS * half:
            return None
        name = "utf-16-be" if even > odd else "utf-16-le"
    else:
        return None
    return DecodedText(raw.decode(name), "UTF-16") if _decodes(raw, name) else None


def _double_byte(raw: bytes) -> tuple[str, str] | None:
    """Return the codec and the name of GBK or EUC-KR: both write common characters as two bytes of 0xA1 or more."""
    pairs = [run[at : at + 2] for run in _OTHER.findall(raw) for at in range(0, len(run), 2)]
    common = [pair for pair in pairs if len(pair) == 2 and min(pair) >= 0xA1]
    if len(common) < _PAIRED * len(pairs):
        return None
    hangul = sum(0xB0 <= pair[0] <= 0xC8 for pair in common)
    if len(common) >= _MIN_HANGUL_PAIRS and hangul >= _HANGUL * len(common) and _decodes(raw, "euc_kr"):
        return "euc_kr", "EUC-KR"
    return ("gb18030", "GBK") if _decodes(raw, "gb18030") else None


def _single_byte(raw: bytes) -> tuple[str, str] | None:
    """Return the codec and the name of Latin-1 (as Windows-1252), if its letters are where Latin letters occur."""
    runs = _OTHER.findall(raw)
    plausible = all(len(run) <= 3 and set(run) <= _LATIN_LETTERS | _LATIN_MARKS for run in runs)
    return ("cp1252", "Latin-1") if plausible and _decodes(raw, "cp1252") else None


def _decodes(raw: bytes, encoding: str) -> bool:
    try:
        raw.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
