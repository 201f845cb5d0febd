"""The memory of a conversation and the latency of its parts."""

import pytest

from sca.infer.clock import TICKS_PER_SPOKEN_SAMPLE
from sca.infer.conversation.history import History, with_user_text
from sca.infer.conversation.latency import LatencyLog
from sca.infer.conversation.spoken import SpokenAnswer, at_output_rate
from sca.infer.messages import Message, ToolCall
from sca.infer.session.played import PlayedTurn, PlayoutLog
from sca.infer.speech.base import WordTime


def answer_of(text, *, word_samples=100):
    spoken, at = SpokenAnswer(), 0
    spoken.add_text(text)
    for word in text.split():
        char = text.index(word, at and at)
        at = char + len(word)
        start = len(spoken.words) * word_samples
        spoken.add_sound(bytes(2 * word_samples), [WordTime(word, char, at, start, start + word_samples - 10)])
    spoken.complete = True
    return spoken


def roles(history):
    return [(message.role, message.text) for message in history.messages()]


def test_texts_of_the_user_in_a_row_are_one_message():
    history = History("Be brief.")
    history.add_user("I would")
    history.add_user("like tea.")
    assert roles(history) == [("system", "Be brief."), ("user", "I would like tea.")]
    assert with_user_text([Message("user", "a")], "b") == [Message("user", "a b")]


def test_answer_counts_as_far_as_it_was_played():
    history, spoken = History(""), answer_of("one two three")
    history.add_user("count")
    history.add_answer(spoken)
    assert roles(history) == [("user", "count")]
    spoken.take(150)
    assert roles(history)[1:] == [("assistant", "one")]
    spoken.take(150)
    assert roles(history)[1:] == [("assistant", "one two three")]
    spoken.set_played(190)
    assert roles(history)[1:] == [("assistant", "one two")]
    spoken.set_played(89)
    history.add_user("again")
    assert roles(history) == [("user", "count again")]


def test_oldest_messages_that_do_not_fit_are_left_out():
    history = History("prompt", max_tokens=60)
    for number in range(20):
        history.add_user(f"question {number}")
        spoken = answer_of(f"answer {number}")
        spoken.take(1000)
        history.add_answer(spoken)
    kept = roles(history)
    assert kept[0] == ("system", "prompt")
    assert kept[1][0] == "user"
    assert kept[-1] == ("assistant", "answer 19")
    assert len(kept) < 10


def test_tool_results_come_before_the_answer_they_are_for():
    history, spoken = History(""), answer_of("It rains.")
    call = ToolCall("1", "weather", "{}")
    history.add_user("weather?")
    history.add_answer(spoken)
    history.add_tools(spoken, [Message("assistant", "", (call,)), Message("tool", "rain", tool_call_id="1")])
    spoken.take(1000)
    assert [message.role for message in history.messages()] == ["user", "assistant", "tool", "assistant"]


def test_pieces_of_an_answer_have_its_text_and_sound():
    spoken = answer_of("one two three ")
    pieces = []
    while not spoken.is_taken:
        pieces.append(spoken.take(130))
    assert "".join(text for _, text in pieces) == "one two three "
    assert [text.strip() for _, text in pieces] == ["one two", "three", ""]
    assert sum(len(pcm) for pcm, _ in pieces) == 600


def test_text_that_cannot_be_spoken_is_returned_without_sound():
    spoken = SpokenAnswer()
    spoken.add_text("☃")
    spoken.complete = True
    assert spoken.take(100) == (b"", "☃")
    assert spoken.is_taken


def test_times_of_words_at_the_output_rate():
    word = at_output_rate(WordTime("a", 0, 1, 22_050, 44_101), 22_050)
    assert (word.start_sample, word.end_sample) == (24_000, 48_001)


@pytest.mark.parametrize(("now", "played"), [(0, 0), (10, 0), (11, 1), (110, 50), (210, 100), (300, 100), (500, 150)])
def test_played_part_of_a_turn(now, played):
    log = PlayoutLog()
    log.add(3, 10, 50)
    log.add(3, 10 + 50 * TICKS_PER_SPOKEN_SAMPLE, 50)
    log.add(3, 400, 50)
    assert log.cut(3, now) == PlayedTurn(3, played)
    assert log.cut(4, now) == PlayedTurn(4, 0)


def test_latency_by_part():
    log = LatencyLog()
    assert log.document() == {}
    assert log.line() is None
    for ms in (100.0, 200.0, 300.0):
        log.add({"endpoint": 600.0, "recognizer": ms, "first_token": 50.0, "voice": 10.0})
    assert log.document()["total"] == {"count": 3, "p50": 860.0, "p95": 950.0}
    assert log.line() == (
        "speech end to first sound: p50 860 ms, p95 950 ms "
        "(endpoint 600/600 + recognizer 200/290 + first token 50/50 + voice 10/10)"
    )
