"""The text in the pictures of a video, as sentences: new scores, new texts. Clocks are recognized and not reported."""

import re
from collections.abc import Mapping
from difflib import SequenceMatcher

from sca.config import VisionConfig
from sca.textutil import whole_word
from sca.watch.engines.describe.ocr import TextReader
from sca.watch.engines.describe.phrases import score_sentence, spoken
from sca.watch.engines.describe.regions import Reading, Region, TextRegions
from sca.watch.engines.describe.remarks import Remark
from sca.watch.engines.describe.scoreboard import Pair, ScoreTrack, parse_pair
from sca.watch.frames import VideoFrame

__all__ = ["WrittenWatch"]

_LEAST_LETTERS = 4
_SAME_TEXT = 0.8
_TOLD_AGAIN_US = 60_000_000
_MOST_LINES = 4


class WrittenWatch:
    """Follows the texts of one video.

    Args:
        reader: Finds and reads text.
        vision: The names of the teams, and the most points at once.

    Attributes:
        names: Names as they are written, such as `ARS`, and as they are spoken, for teams without a name in `vision`.
    """

    def __init__(self, reader: TextReader, vision: VisionConfig) -> None:
        self._regions, self._vision = TextRegions(reader), vision
        self.names: Mapping[str, str] = {}
        self._scores: dict[Region, ScoreTrack] = {}
        self._told: list[tuple[str, int]] = []

    def see(self, frame: VideoFrame, *, had_cut: bool) -> list[Remark]:
        """Look at the next picture.

        Args:
            frame: The picture.
            had_cut: Whether a cut comes before it.

        Returns:
            What is worth saying about its texts.
        """
        remarks, lines = [], list[Reading]()
        for reading in self._regions.see(frame, had_cut=had_cut):
            pair = parse_pair(reading.text)
            if pair is None:
                lines.append(reading)
                continue
            region = reading.region
            track = self._scores.setdefault(region, ScoreTrack(self._vision.score_step))
            change = track.read(pair, reading.first_us, reading.now_us)
            region.is_important, region.needs_reading = not track.is_clock, track.needs_reading
            if change is not None:
                names = self._teams(region, pair)
                remarks.append(Remark("score", score_sentence(change.home, change.away, names), change.about_us))
        return remarks + self._texts(lines)

    def _teams(self, region: Region, pair: Pair) -> tuple[str, str]:
        """Return the spoken names of the teams: the settings, else what is written next to the score."""
        left, right = self._regions.beside(region)
        home, away = self._names_in(f"{left} {pair.before}"), self._names_in(f"{pair.after} {right}")
        return self._vision.home or (home or ["Home"])[-1], self._vision.away or (away or ["Away"])[0]

    def _names_in(self, text: str) -> list[str]:
        """Return the spoken names in a text, in its order."""
        if not self.names:
            return []
        spoken_of = {written.casefold(): meant for written, meant in self.names.items()}
        pattern = "|".join(whole_word(written) for written in sorted(self.names, key=len, reverse=True))
        return [spoken_of.get(found[0].casefold(), found[0]) for found in re.finditer(pattern, text, re.IGNORECASE)]

    def _texts(self, readings: list[Reading]) -> list[Remark]:
        new = [one for one in readings if one.region not in self._scores and self._is_new(one)]
        new.sort(key=lambda one: (one.region.box.top, one.region.box.left))
        for reading in new:
            self._told.append((_key(reading.text), reading.now_us))
        if not new:
            return []
        lines = [spoken(one.text) for one in new[:_MOST_LINES]]
        return [Remark("text", f"On the screen: {'; '.join(lines)}.", min(one.first_us for one in new))]

    def _is_new(self, reading: Reading) -> bool:
        key = _key(reading.text)
        if len(key) < _LEAST_LETTERS or len(key) < 0.6 * len("".join(reading.text.split())):
            return False
        self._told = [(text, at) for text, at in self._told if reading.now_us - at < _TOLD_AGAIN_US]
        return all(SequenceMatcher(None, text, key).ratio() < _SAME_TEXT for text, _ in self._told)


def _key(text: str) -> str:
    """Return the letters of a text."""
    return "".join(character for character in text.casefold() if character.isalpha())
