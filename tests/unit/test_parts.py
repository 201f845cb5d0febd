"""Recordings that are copies or parts of others are found, with the share and the place; the better one is kept."""

import numpy as np
import pytest

from sca.data.quality.fingerprint import FRAME_S
from sca.data.quality.parts import find_parts
from sca.data.quality.sketch import Sketch

PER_S = 1.2


def sketch(seed, seconds=3600.0):
    draw = np.random.default_rng(seed)
    size = round(seconds * PER_S)
    hashes = np.sort(draw.integers(0, 2**32 // 50, size).astype(np.uint32))
    return Sketch(hashes, draw.integers(0, round(seconds / FRAME_S), size), seconds, 8000)


def cut(whole, start_s, seconds, survive=1.0, bandwidth_hz=8000):
    times = whole.frames * FRAME_S
    inside = (times >= start_s) & (times < start_s + seconds)
    inside &= np.random.default_rng(9).random(len(times)) < survive
    return Sketch(whole.hashes[inside], whole.frames[inside] - round(start_s / FRAME_S), seconds, bandwidth_hz)


def test_a_trailer_is_a_part_of_the_talk():
    talk = sketch(1)
    found = find_parts({"trailer": cut(talk, 750, 120, survive=0.3), "talk": talk, "other": sketch(2)})
    assert set(found) == {"trailer"}
    part = found["trailer"]
    assert (part.of, part.at_s) == ("talk", 750)
    assert part.share >= 0.85
    assert part.share_of_other == pytest.approx(0.03, abs=0.01)
    assert str(part).startswith("copy of talk at 12:30, share 0.9") or "share 1.00" in str(part)


def test_the_wider_spectrum_of_equal_lengths_is_kept():
    talk = sketch(1, 600)
    found = find_parts({"a": cut(talk, 0, 600, 0.4, bandwidth_hz=4000), "b": talk, "c": cut(talk, 60, 500)})
    assert {name: part.of for name, part in found.items()} == {"a": "b", "c": "b"}
    assert set(find_parts({"b": talk, "a": talk})) == {"b"}


def test_a_common_jingle_makes_no_copy():
    one, other = sketch(1, 600), sketch(2, 600)
    jingle = cut(sketch(3), 0, 60)
    mixed = [Sketch(*_sorted(part, jingle), 600.0, 8000) for part in (one, other)]
    assert find_parts({"one": mixed[0], "other": mixed[1]}) == {}


def _sorted(first, second):
    hashes = np.concatenate([first.hashes, second.hashes])
    frames = np.concatenate([first.frames, second.frames])
    order = np.argsort(hashes, kind="stable")
    return hashes[order], frames[order]
