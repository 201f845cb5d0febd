"""How the text of commentary is spoken: scores, clocks, and the words of the profile."""

import re
from collections.abc import Iterator

from sca.textutil import whole_word
from sca.watch.profiles.model import Profile

__all__ = ["SpokenText"]

_CLOCK = r"(?<![\d:.])(?P<first>\d{1,3}):(?P<second>[0-5]\d)(?![\d:])"
_SCORE = r"(?<![\d.–—-])(?P<left>\d{1,3})\s?[-–—]\s?(?P<right>\d{1,3})(?![\d.]?\d|\s?[-–—])"
_SCORE_WORDS = 3
_TWELVE = 12


class SpokenText:
    """The rules of a profile.

    Args:
        profile: Whether `2–1` is a score and what `67:42` is, and words with their spelling.
    """

    def __init__(self, profile: Profile) -> None:
        self._clock = profile.clock
        self._words = {**profile.names, **profile.spoken}
        parts = [whole_word(word) for word in sorted(self._words, key=len, reverse=True)]
        parts += [_CLOCK] if profile.clock is not None else []
        parts += [_SCORE] if profile.scores else []
        self._pattern = re.compile("|".join(parts)) if parts else None
        self._held_words = max([_SCORE_WORDS, *(len(word.split()) for word in self._words)])

    def whole(self, text: str) -> str:
        """Return a whole text as it is spoken."""
        return text if self._pattern is None else self._pattern.sub(self._spoken, text)

    def pieces(self, pieces: Iterator[str]) -> Iterator[str]:
        """Yield a text that arrives in pieces as it is spoken. The last words are held until it is known what they are."""
        held = ""
        for piece in pieces:
            held += piece
            cut = self._known(held)
            if cut:
                yield self.whole(held[:cut])
                held = held[cut:]
        if held:
            yield self.whole(held)

    def _known(self, text: str) -> int:
        """Return up to where no rule can apply to more than is known."""
        starts = [found.start() for found in re.finditer(r"(?<=\s)\S", text)]
        if self._pattern is None:
            return len(text)
        if len(starts) < self._held_words:
            return 0
        cut = starts[-self._held_words]
        spans = (found.span() for found in self._pattern.finditer(text))
        return next((start for start, end in spans if start < cut < end), cut)

    def _spoken(self, found: re.Match[str]) -> str:
        groups = found.groupdict()
        if groups.get("left") is not None:
            return f"{groups['left']} to {groups['right']}"
        if groups.get("first") is None:
            return self._words[found[0]]
        first, second = int(groups["first"]), int(groups["second"])
        if self._clock == "match":
            return f"minute {first}" if second == 0 else f"minute {first}, {second} seconds"
        return f"{first} o'clock" if second == 0 and first <= _TWELVE else f"{first} {second:02d}"
