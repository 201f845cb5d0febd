"""`sca.data.export.chat_turns`: rows as conversations of turns."""

from sca.data.export.chat_turns import conversations, heard_spans
from sca.units import Grid

GRID = Grid()


def row(*segments, unlabelled=()):
    names = ("start_s", "text", "kind", "leading_space")
    return {"segments": [dict(zip(names, s, strict=True)) for s in segments], "unlabelled": list(unlabelled)}


def shown(found):
    return [[(round(e.start_s, 2), round(e.end_s, 2), e.text) for e in chat] for chat in found]


def test_answer_follows_all_that_was_heard_since_the_last():
    heard = [(1.0, 2.0), (2.5, 3.0), (6.0, 7.0)]
    spoken = row((3.2, "Yes.", "turn", False), (4.0, "I do.", "turn", True), (7.5, "Good.", "turn", True))
    assert shown(conversations(spoken, heard, GRID)) == [[(1.0, 3.0, "Yes. I do."), (6.0, 7.0, "Good.")]]


def test_interruption_hears_only_what_came_before_it():
    heard = [(1.0, 5.0)]
    spoken = row((3.0, "Wait.", "interruption", False), (6.0, "Sorry.", "turn", True))
    assert shown(conversations(spoken, heard, GRID)) == [[(1.0, 3.0, "Wait."), (3.0, 5.0, "Sorry.")]]


def test_backchannels_and_first_words_are_left_out():
    heard = [(2.0, 4.0)]
    spoken = row((0.5, "Hello.", "turn", False), (3.0, "Mhm.", "backchannel", False), (4.5, "Right.", "turn", False))
    assert shown(conversations(spoken, heard, GRID)) == [[(2.0, 4.0, "Right.")]]
    assert conversations(row((0.5, "Hello.", "turn", False)), heard, GRID) == []


def test_speech_without_words_ends_a_conversation():
    heard = [(1.0, 2.0), (4.0, 5.0), (7.0, 8.0)]
    unknown = [{"first": 10, "end": 20}]  # 3.2 s to 6.4 s
    spoken = row((2.5, "Yes.", "turn", False), (9.0, "No.", "turn", False), unlabelled=unknown)
    assert shown(conversations(spoken, heard, GRID)) == [[(1.0, 2.0, "Yes.")], [(7.0, 8.0, "No.")]]


def test_heard_spans_use_found_speech_where_words_are_missing():
    words = {
        "words": [{"start": 9.0, "end": 11.0}, {"start": 20.0, "end": 31.0}],
        "speech": [{"start": 0.0, "end": 60.0}],
    }
    found = {"words": [], "speech": [{"start": 10.5, "end": 12.0}]}
    assert heard_spans([words, found], 10.0, 20.0) == [(0.0, 2.0), (10.0, 20.0)]
