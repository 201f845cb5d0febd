"""Frames of ADTS are found by their headers, also after a cut."""

import pytest

from sca.audio.coded.adts_frames import adts_frames

RATES_HZ = {3: 48_000, 6: 24_000}


def frame(content, rate=3, blocks=1):
    """Return an ADTS frame of AAC-LC, mono, without a checksum."""
    size = 7 + len(content)
    fields = (0xFFF << 4 | 0b0001) << 40 | (1 << 6 | rate << 2) << 32 | (1 << 30 | size << 13 | 0x7FF << 2 | blocks - 1)
    return fields.to_bytes(7, "big") + content


def found(tmp_path, content):
    path = tmp_path / "a.aac"
    path.write_bytes(content)
    return [(item.data, item.seconds) for item in adts_frames(path)]


FIRST = [frame(bytes([n]) * 300) for n in range(1, 4)]
LATER = [frame(bytes([n]) * 20, rate=6) for n in range(4, 30)]


def test_frames_are_cut_at_their_headers(tmp_path):
    assert found(tmp_path, b"".join(FIRST)) == [(one, 1024 / 48_000) for one in FIRST]


def test_frame_of_several_blocks_is_longer(tmp_path):
    ((_, seconds),) = found(tmp_path, frame(b"x" * 50, blocks=3))
    assert seconds == 3 * 1024 / 48_000


@pytest.mark.parametrize("lost", [1, 150, 299, 303])
def test_cut_frame_takes_nothing_with_it(tmp_path, lost):
    content = b"".join(FIRST)[:-lost] + b"".join(LATER)
    expected = [*((one, 1024 / 48_000) for one in FIRST[:2]), (b"", 1024 / 48_000)]
    assert found(tmp_path, content) == [*expected, *((one, 1024 / 24_000) for one in LATER)]


def test_damaged_header_loses_one_frame(tmp_path):
    content = bytearray(b"".join(FIRST))
    content[307] = 0
    assert [data for data, _ in found(tmp_path, bytes(content))] == [FIRST[0], b"", FIRST[2]]


def test_sound_like_a_header_is_no_frame(tmp_path):
    sound = frame(b"\xff\xf1\x4c\x40\x0c\x9f\xfc" * 30)
    assert [data for data, _ in found(tmp_path, sound + FIRST[0])] == [sound, FIRST[0]]


def test_tags_are_left_out(tmp_path):
    id3 = b"ID3\x04\x00\x00" + bytes([0, 0, 2, 0]) + LATER[0] + LATER[1] + bytes(256 - 2 * 27)
    content = id3 + FIRST[0] + id3 + FIRST[1] + b"TAG" + bytes(125)
    assert [data for data, _ in found(tmp_path, content)] == FIRST[:2]


def test_last_frame_that_is_cut_is_damaged(tmp_path):
    assert [data for data, _ in found(tmp_path, FIRST[0] + FIRST[1][:100])] == [FIRST[0], b""]


def test_no_frames(tmp_path):
    assert found(tmp_path, b"\xff" * 100) == []
