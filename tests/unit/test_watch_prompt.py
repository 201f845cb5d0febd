"""Requests to models that see, the markers in their answers, and pictures as JPEG."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sca.watch.engines.base import Question, TextPiece, WatchRequest
from sca.watch.engines.pictures import jpeg_of, scaled
from sca.watch.engines.prompt import marked_pieces, system_text, user_text
from sca.watch.frames import VideoFrame
from tests.helpers.chat_server import decoded

FRAME = VideoFrame(0, 0, 0, np.zeros((4, 4, 3), np.uint8))
ANSWERS = {
    "A goal!": ("A goal!", []),
    "A goal! <ask>Who is\nnumber 9?</ask> What a shot.": ("A goal!  What a shot.", ["Who is number 9?"]),
    "</response> She scores.": (" She scores.", []),
    "</silence>": ("", []),
    "</delegate> Who won in 1998?": ("", ["Who won in 1998?"]),
    "2 < 3 and <b>x</b> <as": ("2 < 3 and <b>x</b> <as", []),
    "<ask></ask><ask>One?</ask><ask>Two?": ("", ["One?", "Two?"]),
}


def joined(pieces):
    pieces = list(pieces)
    text = "".join(p.text for p in pieces if isinstance(p, TextPiece))
    return text, [p.text for p in pieces if isinstance(p, Question)]


@pytest.mark.parametrize("answer", ANSWERS)
def test_markers(answer):
    assert joined(marked_pieces([answer])) == ANSWERS[answer]


@given(st.sampled_from(sorted(ANSWERS)), st.lists(st.integers(1, 9), max_size=30))
def test_parts_of_any_length_give_the_same(answer, lengths):
    parts, rest = [], answer
    for length in lengths:
        parts.append(rest[:length])
        rest = rest[length:]
    assert joined(marked_pieces([*parts, rest])) == ANSWERS[answer]


def test_plain_text_is_not_held_back():
    answer = iter(["A ", "goal", "!"])
    pieces = marked_pieces(answer)
    assert next(pieces) == TextPiece("A ")
    assert next(answer) == "goal"


def test_question_without_an_end_is_limited():
    text, questions = joined(marked_pieces(["<ask>" + "word " * 1000]))
    assert (text.startswith("word"), [len(q) <= 500 for q in questions]) == (False, [True])


def test_request_as_text():
    plain = WatchRequest(0, (FRAME,))
    assert "Comment on what happens." in user_text(plain)
    full = WatchRequest(1, (FRAME,), "Count cars.", "You watch a street.", "minimal", "One car.", ("It is a bus.",))
    assert user_text(full).splitlines() == [
        "Count cars.",
        "Use a few words.",
        "Your last words were: 'One car.' Do not repeat them.",
        "Answers to your questions, to use where they fit:",
        "- It is a bus.",
    ]
    assert system_text(full).startswith("You watch a street.\n")
    assert "<ask>" in system_text(full)
    assert "<ask>" not in system_text(full, asks=False)


@pytest.mark.parametrize(
    ("size", "side", "expected"), [((90, 160), 64, (36, 64)), ((7, 5), 64, (7, 5)), ((1, 1), 64, (1, 1))]
)
def test_jpeg_has_the_pixels_and_at_most_the_side(size, side, expected):
    pixels = np.zeros((*size, 3), np.uint8)
    pixels[:, size[1] // 2 :] = (250, 120, 10)
    picture = decoded(jpeg_of(pixels, side))
    assert picture.shape[:2] == expected
    assert scaled(pixels, side).shape[:2] == expected
    np.testing.assert_allclose(picture[-1, -1], (250, 120, 10), atol=16)
