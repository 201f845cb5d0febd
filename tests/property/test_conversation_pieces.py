"""The text of an answer, whatever its pieces: what the voice gets, what the output carries, and where it is cut."""

import threading

from hypothesis import given, settings
from hypothesis import strategies as st

from sca.infer.conversation.answer import Done
from sca.infer.conversation.spoken import SpokenAnswer
from sca.infer.conversation.talk import Talk
from tests.helpers.scripted_parts import ScriptedVoice, scripted_parts

WORDS = st.sampled_from(
    ["well", "Dr.", "3.14", "the train", "leaves,", "at nine.", "Yes!", "\n\n", "☃", "is it?", "no;"]
)
TEXTS = st.lists(WORDS, min_size=1, max_size=12).map(" ".join).filter(str.strip)


def pieces_of(text, cuts):
    places = sorted({min(cut, len(text)) for cut in cuts})
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True) if b > a]


def answer(text, cuts, chunk):
    """Return the pieces of the output of an answer, and the units that the voice got."""
    voice = ScriptedVoice()
    parts = scripted_parts(lambda messages: pieces_of(text, cuts), voice=lambda: voice)
    talk, taken = Talk(parts, ""), []
    turn = talk.start(lambda cancelled: "Hello")
    while not isinstance(talk.receive(turn, 10), Done):
        if turn.spoken.waiting_samples > chunk:
            taken.append(turn.spoken.take(chunk))
    while not turn.spoken.is_taken:
        taken.append(turn.spoken.take(chunk))
    talk.close()
    return taken, voice.units, turn.spoken


@settings(max_examples=40)
@given(TEXTS, st.lists(st.integers(0, 90), max_size=6), st.integers(500, 9000))
def test_pieces_of_the_output_are_the_whole_text(text, cuts, chunk):
    taken, units, spoken = answer(text, cuts, chunk)
    assert "".join(piece for _, piece in taken) == text
    assert text.startswith("".join(units))
    assert not text[len("".join(units)) :].strip()
    assert sum(len(pcm) // 2 for pcm, _ in taken) == spoken.taken_samples
    assert units == answer(text, [], chunk)[1]


@given(TEXTS, st.integers(0, 200_000))
def test_heard_text_ends_with_the_last_word_that_was_played(text, played):
    spoken, sound = SpokenAnswer(), ScriptedVoice().synthesise(text)
    spoken.add_text(text)
    spoken.add_sound(bytes(2 * len(sound.samples)), sound.words)
    spoken.complete = True
    spoken.take(len(sound.samples))
    spoken.set_played(played)
    heard = [word for word in sound.words if word.end_sample <= played]
    assert spoken.heard_text.split() == [word.text for word in heard]


def test_first_clause_reaches_the_voice_before_the_rest():
    rest, voice = threading.Event(), ScriptedVoice()
    parts = scripted_parts(lambda messages: ["The first clause, ", "then", rest, " more."], voice=lambda: voice)
    talk = Talk(parts, "")
    turn = talk.start(lambda cancelled: "Hello")
    while not turn.spoken.waiting_samples:
        assert not isinstance(talk.receive(turn, 10), Done)
    assert voice.units == ["The first clause, "]
    rest.set()
    while not isinstance(talk.receive(turn, 10), Done):
        pass
    assert voice.units == ["The first clause, ", "then more."]
    talk.close()
