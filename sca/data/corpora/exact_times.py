"""Times as decimal text, read exactly, and the JSON of word times of the MagicHub layout."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from sca.data.corpora.base import TimedWord
from sca.errors import InputError, TooLargeError, is_of_system
from sca.files.bounded import read_whole
from sca.units import HEARD_HZ, seconds_to_samples

__all__ = ["excerpt", "is_utf8", "read_word_times", "samples_of"]

# Text that `seconds_to_samples` reads safely: no fractions, no underscores, no exponent that fills the memory.
_SECONDS = re.compile(r"[+-]?(?:[0-9]{1,9}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(?:[eE]-[0-9]{1,2})?")


def is_utf8(text: str) -> bool:
    """Return whether a string can be written as UTF-8; bytes that were not UTF-8 are read as lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def excerpt(text: str) -> str:
    """Return the start of a text, quoted and on one line, for a message."""
    return repr(text if len(text) <= 40 else text[:40] + "…")


def samples_of(seconds: str) -> int:
    """Return the sample at 16 kHz nearest to a decimal number of seconds, exactly.

    Raises:
        ValueError: The text is not a number, or is negative.
    """
    if not _SECONDS.fullmatch(seconds):
        raise ValueError(f"{excerpt(seconds)} is not a number of seconds")
    samples = seconds_to_samples(seconds, HEARD_HZ)
    if samples < 0:
        raise ValueError(f"{seconds} is a negative time")
    return samples


@dataclass(frozen=True, slots=True)
class _Literal:
    """A number of a JSON document as it is written: its decimals are exact, those of a float are not."""

    text: str


def read_word_times(path: Path) -> tuple[TimedWord, ...]:
    """Read a JSON list of `[word, start, end]`, in seconds, sorted by start.

    A word whose times are null is left out; it is interpolated when the words are matched with the text.

    Raises:
        ValueError: The file cannot be read or has another content; the message is the reason.
        InputError: The system cannot read the file now, see `is_of_system`.
    """
    try:
        text = read_whole(path).decode("utf-8-sig")
        document = json.loads(text, parse_float=_Literal, parse_int=_Literal, parse_constant=_Literal)
    except TooLargeError:
        raise
    except OSError as error:
        if is_of_system(error):
            raise InputError(f"{path} cannot be read: {error.strerror}", hint="run again") from error
        raise ValueError(f"cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON ({error})") from error
    if not isinstance(document, list):
        raise ValueError("not a list of [word, start, end]")
    words: list[TimedWord] = []
    for number, entry in enumerate(document, 1):
        if isinstance(entry, list) and len(entry) == 3 and isinstance(entry[0], str) and entry[1:] == [None, None]:
            continue
        try:
            words.append(_word(entry))
        except ValueError as error:
            raise ValueError(f"entry {number}: {error}") from error
        if len(words) > 1 and words[-1].start < words[-2].start:
            raise ValueError(f"entry {number}: starts before the entry before it")
    return tuple(words)


def _word(entry: object) -> TimedWord:
    match entry:
        case [str(word), _Literal(first), _Literal(last)] if word.strip() and is_utf8(word):
            start, end = samples_of(first), samples_of(last)
            if end < start:
                raise ValueError(f"ends at {last}, before it starts at {first}")
            return TimedWord(word.strip(), start, end)
    raise ValueError("not [word, start, end]")
