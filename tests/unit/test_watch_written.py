"""Text in pictures: which is a score, which readings are believed, when places are read, and how text is spoken."""

import numpy as np
import pytest

from sca.config import VisionConfig
from sca.watch.engines.describe.ocr import Box, Found
from sca.watch.engines.describe.phrases import clock_words, number_words, score_sentence, spoken
from sca.watch.engines.describe.scoreboard import Pair, ScoreTrack, parse_pair
from sca.watch.engines.describe.written import WrittenWatch
from sca.watch.frames import VideoFrame

STEP_US = 200_000


# Words


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "zero"),
        (13, "thirteen"),
        (20, "twenty"),
        (67, "sixty-seven"),
        (100, "one hundred"),
        (999, None),
        (1000, "1000"),
    ],
)
def test_number_words(number, words):
    assert number_words(number) == (words or "nine hundred ninety-nine")


def test_written_text_is_spoken_in_words():
    assert spoken("ARS 2–1 CHE") == "ARS two one CHE"
    assert spoken("67:42  |  2nd half") == "sixty-seven forty-two 2nd half"
    assert spoken("Bed & Breakfast, 12-05-2026") == "Bed and Breakfast, 12-05-2026"
    assert [clock_words(67, 5), clock_words(1, 0), clock_words(90, 0)] == [
        "sixty-seven oh five",
        "one minute",
        "ninety minutes",
    ]
    assert score_sentence(2, 1, ("Home", "Away")) == "Score: Home two, Away one."


# Pairs


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("ARS 2-1 CHE", (2, 1, False)),
        ("2 – 10", (2, 10, False)),
        ("ARS 2:1 CHE", (2, 1, False)),
        ("78:81", (78, 81, False)),
        ("67:42", (67, 42, True)),
        ("ARS 2-1 CHE 67:42", (2, 1, False)),
        ("ARS O-O CHE", (0, 0, False)),
        ("1-O", (1, 0, False)),
        ("l-2", (1, 2, False)),
        *[
            (text, None)
            for text in ("", "12.48", "2024-25", "12-05-2026", "1:02:03", "F1-30mm", "O-o", "a-b", "10", "555-1234")
        ],
    ],
)
def test_pair_of_a_text(text, pair):
    assert parse_pair(text) == (None if pair is None else Pair(*pair))


# Belief


def changes_of(readings, step=3):
    """Return what a track says of readings `(time in s, first, second[, ambiguous])`."""
    track = ScoreTrack(step)
    said = []
    for time_s, first, second, *ambiguous in readings:
        at = round(time_s * 1e6)
        change = track.read(Pair(first, second, bool(ambiguous)), at, at)
        if change:
            said.append((change.home, change.away, change.kind, change.about_us / 1e6))
    return said, track


def test_score_rises_by_points_on_one_side():
    said, _ = changes_of([(0, 0, 0), (5, 1, 0), (9, 1, 1), (12, 1, 4)])
    assert said == [(1, 0, "points", 5.0), (1, 1, "points", 9.0), (1, 4, "points", 12.0)]


@pytest.mark.parametrize("wrong", [(0, 1), (2, 2), (9, 1), (1, 0)])
def test_implausible_reading_is_not_said(wrong):
    said, track = changes_of([(0, 1, 1), (20, *wrong), (21, 1, 1), (30, 2, 1)])
    assert said == [(2, 1, "points", 30.0)]
    assert not track.needs_reading


def test_score_that_falls_and_stands_is_a_correction():
    said, _ = changes_of([(0, 2, 1), (20, 1, 1), (22, 1, 1), (24.1, 1, 1), (30, 2, 1)])
    assert said == [(1, 1, "correction", 20.0), (2, 1, "points", 30.0)]


def test_wrong_first_reading_is_replaced_without_a_word():
    said, track = changes_of([(0, 8, 0), (1, 0, 0)])
    assert (said, track.needs_reading) == ([], True)
    said, _ = changes_of([(0, 8, 0), (1, 0, 0), (3, 0, 0), (5.1, 0, 0), (9, 1, 0)])
    assert said == [(1, 0, "points", 9.0)]


def test_clock_ticks_and_is_never_a_score():
    said, track = changes_of([(t, 67, 42 + t, True) for t in range(12)])
    assert (said, track.is_clock) == ([], True)
    said, track = changes_of([(t, 12, 30 - t, True) for t in range(4)] + [(30, 12, 27, True), (60, 12, 28, True)])
    assert (said, track.is_clock) == ([], True)


def test_stopped_clock_that_starts_says_nothing():
    stopped = [(t, 45, 10, True) for t in range(0, 30, 2)]
    said, track = changes_of(stopped + [(30 + t, 45, 10 + t, True) for t in range(1, 6)])
    assert (said, track.is_clock) == ([], True)


def test_pair_with_a_colon_that_stands_is_a_score():
    said, _ = changes_of(
        [(0, 10, 12, True), (11, 10, 12, True), (20, 11, 12, True), (20.2, 11, 12, True), (21.6, 11, 12, True)]
    )
    assert said == [(11, 12, "points", 20.0)]


# Places


class ScriptedReader:
    """A reader of pictures whose red value at a place is an index into texts; counts what it is asked."""

    def __init__(self, texts, boxes):
        self.texts, self.boxes, self.finds, self.reads = texts, boxes, 0, 0

    def find(self, pixels):
        self.finds += 1
        return [box for box in self.boxes if box.crop(pixels)[:, :, 0].any()]

    def read(self, pixels):
        self.reads += 1
        values = pixels[:, :, 0]
        value = int(values.max())
        return Found(self.texts[value] if value else "", 0.95 if value else 0.1)


BOXES = [Box(20, 20, 120, 40), Box(200, 20, 260, 40)]


def frames(rows):
    """Return a frame per row; a row has the index of the text in each box."""
    made = []
    for index, row in enumerate(rows):
        pixels = np.zeros((90, 320, 3), np.uint8)
        for box, value in zip(BOXES, row, strict=False):
            box.crop(pixels)[:, :, 0] = value
            box.crop(pixels)[:, :, 1] = value * 37 % 250
        made.append(VideoFrame(index, index * STEP_US, index * STEP_US, pixels))
    return made


def watch(texts, rows, names=None, vision=VisionConfig(home="Reds", away="Blues")):  # noqa: B008
    reader = ScriptedReader(texts, BOXES)
    written = WrittenWatch(reader, vision)
    written.names = names or {}
    return [(r.text, r.about_us) for f in frames(rows) for r in written.see(f, had_cut=False)], reader


SCORES = [None, "RED 0-0 BLU", "RED 1-0 BLU", "RED 7-0 BLU", "A quiet street", "A quiet street."]


def test_score_has_the_names_and_its_first_picture():
    said, _ = watch(SCORES, [(1,)] * 10 + [(2,)] * 10)
    assert said == [("Score: Reds one, Blues zero.", 10 * STEP_US)]


NAMES = {"RED": "Redtown", "BLU": "Blue City", "RED BLU": "both"}


@pytest.mark.parametrize(
    ("texts", "vision", "said"),
    [
        (SCORES[:3], {}, "Score: Redtown one, Blue City zero."),
        (SCORES[:3], {"away": "Blues"}, "Score: Redtown one, Blues zero."),
        ([None, "REDS 0-0 blu", "REDS 1-0 blu"], {}, "Score: Home one, Blue City zero."),
        ([None, "0-0", "1-0", "BLU 67'"], {}, "Score: Home one, Blue City zero."),
        ([None, "RED 0-0", "RED 1-0", "RED fans, BLU fans"], {}, "Score: Redtown one, Redtown zero."),
    ],
    ids=["both", "one setting", "a part of a word is no name", "in another place", "nearest"],
)
def test_score_has_the_names_of_the_profile(texts, vision, said):
    """The names that are written left and right of the score, for teams that the settings do not name."""
    other = len(texts) - 1 if len(texts) > 3 else 0
    heard, _ = watch(texts, [(1, other)] * 10 + [(2, other)] * 10, NAMES, VisionConfig(**vision))
    assert [text for text, _ in heard if text.startswith("Score")] == [said]


def test_one_wrong_picture_is_outvoted():
    said, _ = watch(SCORES, [(1,)] * 10 + [(3,)] + [(2,)] * 10)
    assert said == [("Score: Reds one, Blues zero.", 11 * STEP_US)]


def test_place_is_read_only_when_it_changes():
    _, reader = watch(SCORES, [(1,)] * 100)
    assert reader.reads == 2
    assert reader.finds <= 4


def test_new_text_is_said_once():
    said, _ = watch(SCORES, [(0, 0)] * 10 + [(4, 0)] * 30 + [(5, 0)] * 30)
    assert [text for text, _ in said] == ["On the screen: A quiet street."]


def test_place_that_changes_all_the_time_is_read_seldom():
    texts = [None, *(f"take {n}" for n in range(1, 200))]
    said, reader = watch(texts, [(1 + n,) for n in range(100)])
    assert reader.reads <= 30
    assert len(said) <= 1


def test_other_size_of_picture_starts_again():
    reader = ScriptedReader(SCORES, BOXES)
    written = WrittenWatch(reader, VisionConfig())
    first = frames([(1,)] * 3)
    small = VideoFrame(3, 600_000, 600_000, np.zeros((20, 30, 3), np.uint8))
    assert [written.see(f, had_cut=False) for f in [*first, small]] == [[]] * 4
