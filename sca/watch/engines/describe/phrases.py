"""Written text as it is spoken: scores, clocks, numbers."""

import re
import unicodedata

__all__ = ["DASHES", "clock_words", "number_words", "score_sentence", "spoken"]

DASHES = r"\-–—−‐‑‒"
"""Characters between the numbers of a score, for a class of a regular expression."""

_SMALL = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
_SMALL += ["thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]

_SCORE = re.compile(rf"(?<![\d{DASHES}:.])(\d{{1,3}})\s*[{DASHES}]\s*(\d{{1,3}})(?![\d{DASHES}:.])")
_CLOCK = re.compile(r"(?<![\d:.])(\d{1,3}):([0-5]\d)(?![\d:.])")


def number_words(number: int) -> str:
    """Return a number from 0 to 999 in words.

    Args:
        number: The number. Others are returned in digits.
    """
    if not 0 <= number <= 999:
        return str(number)
    if number < 20:
        return _SMALL[number]
    if number < 100:
        tens, ones = divmod(number, 10)
        return _TENS[tens - 2] + (f"-{_SMALL[ones]}" if ones else "")
    hundreds, rest = divmod(number, 100)
    return f"{_SMALL[hundreds]} hundred" + (f" {number_words(rest)}" if rest else "")


def clock_words(minutes: int, seconds: int) -> str:
    """Return a clock in words, such as "sixty-seven forty-two", "sixty-seven oh five" or "ninety minutes"."""
    if not seconds:
        return f"{number_words(minutes)} {'minute' if minutes == 1 else 'minutes'}"
    return f"{number_words(minutes)} {'oh ' if seconds < 10 else ''}{number_words(seconds)}"


def score_sentence(home: int, away: int, names: tuple[str, str]) -> str:
    """Return the sentence about a new score.

    Args:
        home: Points of the first team.
        away: Points of the second team.
        names: The spoken names of the teams.
    """
    return f"Score: {names[0]} {number_words(home)}, {names[1]} {number_words(away)}."


def spoken(text: str) -> str:
    """Return a text of the screen as it is spoken: scores and clocks in words, letters of one width, single spaces."""
    text = unicodedata.normalize("NFKC", text)
    text = _CLOCK.sub(lambda found: clock_words(int(found[1]), int(found[2])), text)
    text = _SCORE.sub(lambda found: f"{number_words(int(found[1]))} {number_words(int(found[2]))}", text)
    return " ".join(text.replace("&", " and ").replace("|", " ").split())
