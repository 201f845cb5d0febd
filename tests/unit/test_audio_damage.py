"""Damage in FLAC and WAV files, which libsndfile reads: the same limit, silence and remarks as in coded files."""

import av
import numpy as np
import pytest
import soundfile

from sca.audio.coded.flac_frames import first_sample
from sca.audio.decode import ANY_DAMAGE, BlockReader, Reading, probe
from sca.errors import DamageError

RATE_HZ, FRAME, SECONDS = 16_000, 4096, 12
LOST = 20  # the frame that is damaged
NOISE = np.random.default_rng(0).normal(0, 0.1, RATE_HZ * SECONDS)


def read(path, block_samples=777, **options):
    with BlockReader(path, block_samples, **options) as reader:
        return np.concatenate(list(reader)), reader


@pytest.fixture(scope="module")
def flac(tmp_path_factory):
    path = tmp_path_factory.mktemp("flac") / "good.flac"
    soundfile.write(path, NOISE, RATE_HZ)
    return path


def packets(path):
    with av.open(str(path)) as container:
        return [(packet.pos, bytes(packet)) for packet in container.demux(audio=0) if packet.size]


def with_bytes(flac, path, position, new):
    content = bytearray(flac.read_bytes())
    content[position : position + len(new)] = new
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("damage", ["bit", "zeros", "header"])
def test_lost_frame_of_flac_becomes_silence_in_its_place(flac, tmp_path, damage):
    position, frame = packets(flac)[LOST]
    new = {
        "bit": [frame[len(frame) // 2] ^ 16],
        "zeros": bytes(len(frame) // 2),
        "header": bytes(16),
    }[damage]
    path = with_bytes(flac, tmp_path / "a.flac", position + (0 if damage == "header" else len(frame) // 2), new)
    good, _ = read(flac)
    with pytest.raises(DamageError, match=r"is damaged near second \d\.\d+: .* s cannot be decoded\)") as refused:
        read(path, reading=Reading(0.0))
    x, reader = read(path, reading=Reading(refused.value.needed_s))
    (hole,) = reader.holes
    start, end = round(hole.start_s * RATE_HZ), round((hole.start_s + hole.seconds) * RATE_HZ)
    assert start <= LOST * FRAME < (LOST + 1) * FRAME <= end == start + FRAME
    expected = good.copy()
    expected[start:end] = 0
    assert np.array_equal(x, expected)
    assert reader.notes == (f"{hole.seconds:.2f} s of silence in place of damaged packets, at {hole.start_s:.2f} s",)


def test_last_bytes_of_flac(flac, tmp_path):
    path = tmp_path / "a.flac"
    path.write_bytes(flac.read_bytes()[: flac.stat().st_size // 2])
    with pytest.raises(
        DamageError, match=r"is cut short: its header promises 12\.00 s, the file has [56]\."
    ) as refused:
        read(path)
    x, reader = read(path, reading=Reading(refused.value.needed_s))
    good, _ = read(flac)
    assert np.array_equal(x, good[: len(x)])
    assert reader.notes[-1].startswith(f"cut short: the last {SECONDS - len(x) / RATE_HZ:.2f} s of 12.00 s")


@pytest.mark.parametrize(("lost_bytes", "needed_s"), [(1, 1.0), (3000, 1.0), (RATE_HZ * 2 * 6, 1800.0)])
@pytest.mark.parametrize("channels", [1, 4])
def test_missing_end_of_wav(tmp_path, lost_bytes, needed_s, channels):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.repeat(NOISE[:, None], channels, axis=1), RATE_HZ)
    good, _ = read(path)
    path.write_bytes(path.read_bytes()[: -lost_bytes * channels])
    with pytest.raises(DamageError, match=r"is cut short: its header promises 12\.00 s") as refused:
        read(path, reading=Reading(0.0))
    assert (refused.value.needed_s, f"--accept-damage {needed_s:.0f}" in refused.value.hint) == (needed_s, True)
    x, reader = read(path, reading=Reading(needed_s))
    assert np.array_equal(x, good[: len(x)])
    assert len(good) - len(x) == -(-lost_bytes // 2)
    assert reader.notes == (f"cut short: the last {lost_bytes / 2 / RATE_HZ:.2f} s of 12.00 s are missing",)
    assert probe(path, ANY_DAMAGE).is_cut


def test_places_of_flac_frames(flac):
    firsts = [first_sample(frame[:16], FRAME) for _, frame in packets(flac)]
    assert firsts == list(range(0, RATE_HZ * SECONDS, FRAME))
    assert first_sample(b"\xff\xf9\xc9\x08\xe2\x82\xac\x00", FRAME) == 0x20AC, "sample number of a variable block size"
    for broken in (
        b"",
        b"\xff\xf8\xc9\x08",
        b"\xff\xfa\xc9\x08\x00",
        b"\xff\xf8\xc9\x08\x80",
        b"\xff\xf8\xc9\x08\xe2\x02\xac",
    ):
        assert first_sample(broken, FRAME) is None
