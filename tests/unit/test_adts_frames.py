"""Frames of ADTS are found by their headers, also after a cut, and are read with silence in place of damaged ones."""

import numpy as np
import pytest

from sca.audio.coded import adts_frames as module
from sca.audio.coded.adts_frames import AdtsFrame, adts_frames, is_whole_adts
from sca.audio.coded.tags import id3_bytes
from sca.audio.decode import BlockReader, Reading, length_s, probe, read_audio
from sca.errors import DamageError, InputError
from tests.helpers.coded_parts import Part, pitch, write_part

LONG_S, SHORT_S = 1024 / 24_000, 1024 / 48_000


def frame(content, rate=3, blocks=1):
    """Return an ADTS frame of AAC-LC, mono, without a checksum."""
    size = 7 + len(content)
    fields = (0xFFF << 4 | 0b0001) << 40 | (1 << 6 | rate << 2) << 32 | (1 << 30 | size << 13 | 0x7FF << 2 | blocks - 1)
    return fields.to_bytes(7, "big") + content


def with_checksum(whole):
    """Return a frame with the two bytes of a checksum after its header."""
    head = int.from_bytes(whole[:7], "big")
    return (head - (1 << 40) + (2 << 13)).to_bytes(7, "big") + bytes(2) + whole[7:]


def id3(content, flags=0):
    """Return an ID3v2.4 tag of up to 127 bytes."""
    footer = b"3DI\x04\x00" + bytes([flags, 0, 0, 0, len(content)]) if flags & 0x10 else b""
    return b"ID3\x04\x00" + bytes([flags, 0, 0, 0, len(content)]) + content + footer


def write(tmp_path, content):
    path = tmp_path / "a.aac"
    path.write_bytes(content)
    return path


def found(tmp_path, content):
    return list(adts_frames(write(tmp_path, content)))


def data(tmp_path, content):
    return [item.data for item in found(tmp_path, content)]


FIRST = [frame(bytes([n]) * 300) for n in range(1, 4)]
LATER = [frame(bytes([n]) * 20, rate=6) for n in range(4, 30)]
APE = b"APETAGEX" + bytes(24) + b"cover\0" + b"\xd8\xff\xe0" * 30 + b"APETAGEX" + bytes(24)
TAGS = {
    "id3": id3(LATER[0] + LATER[1]),
    "id3 with a footer": id3(LATER[0] + LATER[1], flags=0x10),
    "id3v1": b"TAG" + bytes(125),
    "ape": APE,
    "lyrics": b"LYRICSBEGIN" + b"la" * 20 + b"LYRICS200",
    "several": APE + b"TAG" + b"\xff" * 125 + id3(b"\xff" * 9),
}


def test_frames_are_cut_at_their_headers(tmp_path):
    assert found(tmp_path, b"".join(FIRST)) == [AdtsFrame(one, SHORT_S) for one in FIRST]
    assert is_whole_adts(tmp_path / "a.aac")


def test_frame_of_several_blocks_is_longer(tmp_path):
    (only,) = found(tmp_path, frame(b"x" * 50, blocks=3))
    assert only.seconds == 3 * SHORT_S


@pytest.mark.parametrize("lost", [1, 150, 299, 303])
def test_cut_frame_takes_nothing_with_it(tmp_path, lost):
    content = b"".join(FIRST)[:-lost] + b"".join(LATER)
    expected = [*(AdtsFrame(one, SHORT_S) for one in FIRST[:2]), AdtsFrame(b"", SHORT_S)]
    assert found(tmp_path, content) == [*expected, *(AdtsFrame(one, LONG_S) for one in LATER)]
    assert not is_whole_adts(tmp_path / "a.aac")


def test_cut_frame_that_seems_to_end_at_a_later_one(tmp_path):
    lost = 4 * len(LATER[0])  # the stated end of the cut frame is the start of the fifth frame after it
    assert data(tmp_path, b"".join(FIRST)[:-lost] + b"".join(LATER)) == [*FIRST[:2], b"", *LATER]


def test_damaged_header_loses_one_frame(tmp_path):
    content = bytearray(b"".join(FIRST))
    content[307] = 0
    assert data(tmp_path, bytes(content)) == [FIRST[0], b"", FIRST[2]]


@pytest.mark.parametrize("zeros", [100, 500, 3_000])
def test_length_of_a_damaged_stretch_is_estimated(tmp_path, zeros):
    many = [frame(bytes([n]) * 100) for n in range(1, 60)]
    content = b"".join(many)
    items = found(tmp_path, content[: 107 * 10 + 50] + bytes(zeros) + content[107 * 10 + 50 + zeros :])
    assert sum(item.seconds for item in items) == pytest.approx(len(many) * SHORT_S, abs=1.1 * SHORT_S)
    assert [item.data for item in items].count(b"") == 1
    assert items[-1].data == many[-1]


def test_sound_like_a_header_is_no_frame(tmp_path):
    sound = frame(b"\xff\xf1\x4c\x40\x0c\x9f\xfc" * 30)
    assert data(tmp_path, sound + FIRST[0]) == [sound, FIRST[0]]


@pytest.mark.parametrize("tag", TAGS.values(), ids=TAGS)
def test_tags_are_left_out(tmp_path, tag):
    assert data(tmp_path, tag + FIRST[0] + tag + FIRST[1] + tag) == FIRST[:2]
    assert data(tmp_path, FIRST[0] + FIRST[1][:200] + tag + FIRST[2]) == [FIRST[0], b"", FIRST[2]]


@pytest.mark.parametrize("damaged", [b"ID3\xff", b"ID3\x04\0\x0f\0\0\0\x09", b"ID3\x04\0\0\xff\xff\xff\xff", b"ID3"])
def test_damaged_tag_takes_nothing_with_it(tmp_path, damaged):
    assert id3_bytes(damaged) == 0
    assert data(tmp_path, FIRST[0] + damaged + FIRST[1] + FIRST[2]) == [FIRST[0], b"", *FIRST[1:]]


def test_tag_longer_than_the_file_takes_nothing_with_it(tmp_path):
    assert data(tmp_path, FIRST[0] + b"ID3\x04\0\0\x7f\0\0\0" + FIRST[1] + FIRST[2]) == FIRST


@pytest.mark.parametrize("end", [FIRST[1][:100], FIRST[1][:3], bytes(5_000)], ids=["frame", "header", "padding"])
def test_last_bytes_that_are_no_frame_are_the_end(tmp_path, end):
    assert found(tmp_path, FIRST[0] + end)[1:] == [AdtsFrame(b"", pytest.approx(SHORT_S, abs=1), len(end))]


@pytest.mark.parametrize("content", [b"\xff" * 100, b"\xff\xf1", b"ID3", id3(b"x"), b""])
def test_no_frames(tmp_path, content):
    assert found(tmp_path, content) == []


@pytest.mark.parametrize("piece_bytes", [8192, 8193, 10_000])
def test_frames_are_found_across_pieces(tmp_path, monkeypatch, piece_bytes):
    content = b"".join(FIRST) * 9 + bytes(9_000) + TAGS["several"] + b"".join(LATER) * 40 + b"\xff" * 9_000 + FIRST[0]
    whole = found(tmp_path, content)
    monkeypatch.setattr(module, "_PIECE_BYTES", piece_bytes)
    assert found(tmp_path, content) == whole


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    return write_part(tmp_path_factory.mktemp("adts") / "a.aac", "aac", Part(seconds=4.0))


def test_checksums_change_nothing(recording, tmp_path):
    path = write(tmp_path, b"".join(with_checksum(item.data) for item in adts_frames(recording)))
    assert len({item.data[1] for item in adts_frames(path)}) == 1
    assert np.array_equal(read_audio(path), read_audio(recording))


def test_several_blocks_of_a_frame_are_read(recording, tmp_path):
    items = [item.data for item in adts_frames(recording)]
    pairs = [frame(a[7:] + b[7:], blocks=2) for a, b in zip(items[::2], items[1::2], strict=False)]
    expected = read_audio(recording)[: 2048 * len(pairs)]
    assert np.array_equal(read_audio(write(tmp_path, b"".join(pairs))), expected)


def test_damage_is_silence_and_what_follows_is_in_its_place(recording, tmp_path):
    content, good = recording.read_bytes(), read_audio(recording)
    path = write(tmp_path, content[:9_000] + bytes(2_000) + content[11_000:])
    with pytest.raises(DamageError, match=r"is damaged near second \d\.\d+: .* cannot be decoded\)") as refused:
        read_audio(path)
    with BlockReader(path, reading=Reading(refused.value.needed_s)) as reader:
        x = np.concatenate(list(reader))
    (hole,) = reader.holes
    start, end = round(hole.start_s * 48_000), round((hole.start_s + hole.seconds) * 48_000)
    assert not x[start:end].any()
    assert np.array_equal(x[:start], good[:start])
    assert reader.filled_samples == end - start
    later = x[end + 4_096 :]
    shifts = range(-2_048, 2_049, 1_024)
    errors = [
        np.abs(later[: len(good)][4_096:-4_096] - good[end + 8_192 + s :][: len(later) - 8_192]).max() for s in shifts
    ]
    assert min(errors) < 1e-4, "it is later or earlier by two frames at most"


def test_joined_after_a_cut(recording, tmp_path):
    later = write_part(tmp_path / "later.aac", "aac", Part("stereo", 24_000, 880.0, 4.0))
    path = write(tmp_path, recording.read_bytes()[:-3_000] + later.read_bytes())
    with BlockReader(path) as reader:
        x = np.concatenate(list(reader))
    (hole,) = reader.holes
    assert hole.seconds == pytest.approx(SHORT_S)
    assert len(x) / 48_000 == pytest.approx(hole.start_s + SHORT_S + len(read_audio(later)) / 24_000, abs=2e-3)
    assert length_s(path) == len(x) / 48_000
    middle = round((hole.start_s + 1) * 48_000)
    assert pitch(x[middle : middle + 48_000], 48_000) == pytest.approx(880, abs=2)
    with pytest.raises(DamageError) as refused:
        read_audio_without_damage(path)
    assert "--accept-damage 1" in refused.value.hint


def read_audio_without_damage(path):
    with BlockReader(path, reading=Reading(0.0)) as reader:
        return list(reader)


def test_end_inside_a_frame_is_noted_and_no_damage(recording, tmp_path):
    good = read_audio(recording)
    path = write(tmp_path, recording.read_bytes()[:-100])
    with BlockReader(path, reading=Reading(0.0)) as reader:
        x = np.concatenate(list(reader))
    assert np.array_equal(x, good[: len(x)])
    assert 0 < len(good) - len(x) <= 2_048
    (note,) = reader.notes
    assert note.endswith("bytes left out at the end: no whole packet")
    assert reader.explains_damage


@pytest.mark.parametrize(
    "content", [bytes(5_000), b"no sound\n" * 50, b"\xff\xf1\x4c", b"\xff" * 5_000, id3(b"x" * 99)]
)
def test_file_without_a_frame_is_refused(tmp_path, content):
    with pytest.raises(InputError, match="is not a sound file") as refused:
        probe(write(tmp_path, content))
    assert refused.value.exit_code == 5
    assert "\n" not in str(refused.value)
