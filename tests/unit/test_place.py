"""Placement, by hand-made cases; the laws are in tests/property/test_place.py."""

from sca.data.duplex.align.match import interpolate
from sca.data.duplex.model.units import Unit, UnitWord
from sca.data.duplex.rows.placement import Cursor, place_unit, token_words, wanted_slots


def unit(text, *starts):
    words = interpolate(text, 0, 1000)
    timed = [UnitWord(w.text, w.at, w.until, s, s + 10, "given") for w, s in zip(words, starts, strict=True)]
    return Unit(text, tuple(timed))


def test_a_token_wants_the_chunk_before_its_words():
    one = unit("a b c", 0, 5120, 5120 * 3 - 1)
    assert wanted_slots(one, [0, 1, 2], 5120, lead=1) == [-1, 0, 1]
    assert wanted_slots(one, [0, 1, 2], 5120, lead=0) == [0, 1, 2]


def test_room_means_exact_places():
    assert place_unit([3, 5, 9], Cursor(0), capacity=2, pull=1).slots == (3, 5, 9)


def test_a_burst_is_first_pulled_back_then_pushed_on():
    # Six tokens want chunk 5: two stay, two are pulled one chunk back, two are pushed on, and order is kept.
    assert place_unit([5] * 6, Cursor(0), capacity=2, pull=1).slots == (4, 4, 5, 5, 6, 6)


def test_the_pull_is_bounded():
    assert min(place_unit([5] * 20, Cursor(0), capacity=2, pull=1).slots) == 4
    assert min(place_unit([5] * 20, Cursor(0), capacity=2, pull=2).slots) == 3
    assert place_unit([5] * 4, Cursor(0), capacity=2, pull=0).slots == (5, 5, 6, 6)


def test_nothing_is_placed_before_the_previous_unit():
    placed = place_unit([5, 5, 5, 5], Cursor(5, 1), capacity=2, pull=1)
    assert placed.slots == (5, 6, 6, 7)
    assert placed.after == Cursor(7, 1)


def test_a_space_belongs_to_the_word_after_it():
    one = unit("ab cd", 0, 100)
    # " " | "ab" | " " | "cd", tokenized with a leading space
    assert token_words(one, [(0, 1), (1, 3), (3, 4), (4, 6)], shift=1) == [0, 0, 1, 1]


def test_pieces_of_one_character_stay_with_its_word():
    one = unit("a 😀 b", 0, 100, 200)
    # An emoji takes several tokens, and they all report its one character.
    assert token_words(one, [(0, 1), (1, 3), (2, 3), (3, 5)], shift=0) == [0, 1, 1, 2]
