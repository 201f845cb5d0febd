"""Placement of hand-made cases; its properties are in tests/property/test_place.py."""

from sca.data.duplex.model.units import Unit, UnitWord
from sca.data.duplex.rows.placement import Cursor, place_tokens, token_words, wanted_chunks
from sca.data.duplex.rows.text import split_words


def unit(text, *starts):
    ranges = zip(split_words(text), starts, strict=True)
    timed = [UnitWord(text[first:last], first, last, start, start + 10, "given") for (first, last), start in ranges]
    return Unit(text, tuple(timed))


def test_wanted_chunk_precedes_the_word_by_the_lead():
    one = unit("a b c", 0, 5120, 5120 * 3 - 1)
    assert wanted_chunks(one, [0, 1, 2], 5120, lead=1) == [-1, 0, 1]
    assert wanted_chunks(one, [0, 1, 2], 5120, lead=0) == [0, 1, 2]


def test_places_tokens_exactly_if_there_is_room():
    assert place_tokens([3, 5, 9], Cursor(0), capacity=2, pull=1).chunks == (3, 5, 9)


def test_moves_a_burst_backwards_then_forwards():
    # Six tokens want chunk 5: two stay, two move one chunk back, two move one chunk on, and the order is kept.
    assert place_tokens([5] * 6, Cursor(0), capacity=2, pull=1).chunks == (4, 4, 5, 5, 6, 6)


def test_the_pull_is_bounded():
    assert min(place_tokens([5] * 20, Cursor(0), capacity=2, pull=1).chunks) == 4
    assert min(place_tokens([5] * 20, Cursor(0), capacity=2, pull=2).chunks) == 3
    assert place_tokens([5] * 4, Cursor(0), capacity=2, pull=0).chunks == (5, 5, 6, 6)


def test_places_nothing_before_the_previous_unit():
    placed = place_tokens([5, 5, 5, 5], Cursor(5, 1), capacity=2, pull=1)
    assert placed.chunks == (5, 6, 6, 7)
    assert placed.after == Cursor(7, 1)


def test_a_space_belongs_to_the_word_after_it():
    one = unit("ab cd", 0, 100)
    # " " | "ab" | " " | "cd", tokenized with a leading space
    assert token_words(one, [(0, 1), (1, 3), (3, 4), (4, 6)], shift=1) == [0, 0, 1, 1]


def test_pieces_of_one_character_stay_with_its_word():
    one = unit("a 😀 b", 0, 100, 200)
    # An emoji takes several tokens, which all have the range of its one character.
    assert token_words(one, [(0, 1), (1, 3), (2, 3), (3, 5)], shift=0) == [0, 1, 1, 2]
