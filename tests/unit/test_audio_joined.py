"""Joined files: every part is read, lengths are not believed where they are estimates, and layouts may change."""

from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from sca.audio.coded import joined
from sca.audio.coded.joined import joined_spans
from sca.audio.coded.layouts import fitted, mono_weights, stereo_weights
from sca.audio.coded.readers import Stretch, accepted_damage_s, damage_over_limit
from sca.audio.coded.stated_length import xing_seconds
from sca.audio.decode import BlockReader, Reading, length_s, probe, read_audio
from sca.errors import DamageError
from tests.helpers.coded_parts import JOINABLE, Part, damaged_mp3, join, pitch, remuxed, tone, write_part, write_tracks

LOW, HIGH = Part(hz=440.0), Part(hz=880.0)


def read(path, **options):
    with BlockReader(path, **options) as reader:
        return np.concatenate(list(reader)), reader


def spans_of(files):
    ends = np.cumsum([file.stat().st_size for file in files]).tolist()
    return list(zip([0, *ends], ends, strict=False))


@pytest.mark.parametrize("extension", JOINABLE)
def test_joined_recordings_are_read_whole(tmp_path, extension):
    path, files = join(tmp_path / f"whole.{extension}", extension, LOW, HIGH)
    x, reader = read(path)
    assert len(x) / 48_000 == pytest.approx(sum(len(read_audio(file)) for file in files) / 48_000, abs=0.06)
    assert pitch(x[10_000:40_000], 48_000) == pytest.approx(440, abs=5)
    assert pitch(x[-40_000:-10_000], 48_000) == pytest.approx(880, abs=5)
    assert reader.filled_samples == 0
    # ADTS has no clock, and that of Vorbis in Ogg may continue: these parts have no seam.
    if extension not in ("aac", "ogg"):
        assert reader.notes == (f"2 recordings joined: others begin at {reader.joins[0]:.2f} s",)
        assert reader.joins[0] == pytest.approx(1.0, abs=0.1)
    assert length_s(path) == pytest.approx(len(x) / 48_000, abs=1e-9)


@pytest.mark.parametrize("extension", ["mp3", "aac", "ts"])
def test_mono_that_becomes_stereo_is_read_whole(tmp_path, extension):
    path, _ = join(tmp_path / f"whole.{extension}", extension, LOW, Part("stereo", hz=880.0), LOW)
    x = read_audio(path)
    assert len(x) / 48_000 == pytest.approx(3.0, abs=0.2)
    assert pitch(x[60_000:90_000], 48_000) == pytest.approx(880, abs=5)
    # The level of the tone is the same in all parts.
    levels = [np.sqrt(2 * np.square(x[start : start + 20_000]).mean()) for start in (10_000, 65_000, 115_000)]
    assert levels == pytest.approx([0.3] * 3, abs=0.03)


def test_stereo_that_becomes_mono_has_two_channels(tmp_path):
    path, _ = join(tmp_path / "whole.mp3", "mp3", Part("stereo", seconds=20.0), Part(hz=880.0))
    for channel in (0, 1):
        x, reader = read(path, channel=channel)
        assert reader.info.channels == 2
        assert pitch(x[-40_000:-10_000], 48_000) == pytest.approx(880, abs=5)


@pytest.mark.parametrize("extension", ["mp3", "aac"])
def test_another_rate_is_resampled(tmp_path, extension):
    first = Part(seconds=20.0)  # FFmpeg reads some seconds before it states a rate
    path, _ = join(tmp_path / f"whole.{extension}", extension, first, Part(rate_hz=24_000, hz=880.0))
    x, reader = read(path)
    assert (reader.info.rate_hz, len(x) / 48_000) == (48_000, pytest.approx(21.0, abs=0.2))
    assert pitch(x[-40_000:-10_000], 48_000) == pytest.approx(880, abs=5)


@pytest.mark.parametrize("block_samples", [777, 1 << 20])
def test_blocks_of_joined_files_have_the_requested_size(tmp_path, block_samples):
    path, _ = join(tmp_path / "whole.mp3", "mp3", LOW, Part("stereo"))
    with BlockReader(path, block_samples) as reader:
        blocks = list(reader)
    assert {len(block) for block in blocks[:-1]} <= {block_samples}
    assert np.array_equal(np.concatenate(blocks), read_audio(path))


@pytest.mark.parametrize("extension", JOINABLE)
def test_one_stream_is_not_joined(tmp_path, extension):
    path = write_part(tmp_path / f"one.{extension}", extension, LOW)
    assert joined_spans(path) == []
    _, reader = read(path)
    assert (reader.joins, reader.notes) == ([], ())


@pytest.mark.parametrize("extension", ["ogg", "opus", "flac", "webm", "mka"])
def test_joined_streams_state_no_length(tmp_path, extension):
    path, files = join(tmp_path / f"whole.{extension}", extension, LOW, HIGH)
    assert joined_spans(path) == spans_of(files)
    assert probe(path).frames is None
    assert probe(files[0]).frames is not None


@pytest.mark.parametrize("cut", [1, 2, 3, 4, 7])
def test_joined_flac_is_found_across_blocks(tmp_path, monkeypatch, cut):
    path, files = join(tmp_path / "whole.flac", "flac", LOW, HIGH)
    monkeypatch.setattr(joined, "_SCAN_BYTES", files[0].stat().st_size - 4 + cut)
    assert joined_spans(path) == spans_of(files)
    path.write_bytes(files[0].read_bytes() + b"fLaC and no stream")
    assert joined_spans(path) == []


def test_estimated_lengths_are_not_promises(tmp_path):
    """The first frames of a variable bit rate file are small, so an estimate from them is too long."""
    path = tmp_path / "quiet start.mp3"
    plain = {"write_xing": "0", "id3v2_version": "0"}
    for name, bit_rate in (("quiet", 32_000), ("loud", 256_000)):
        write_part(tmp_path / f"{name}.mp3", "mp3", Part(seconds=5.0), bit_rate, **plain)
    path.write_bytes((tmp_path / "quiet.mp3").read_bytes() + (tmp_path / "loud.mp3").read_bytes())
    with av.open(str(path)) as container:
        estimate_s = container.duration / 1e6
    assert xing_seconds(path) is None
    assert (probe(path).frames, len(read_audio(path)) / 48_000) == (None, pytest.approx(10.0, abs=0.1))
    assert length_s(path) == pytest.approx(10.0, abs=0.1)
    assert abs(estimate_s - 10.0) > 1.0, "the estimate is wrong by more than the tolerance for cut files"


def test_length_of_a_xing_header(tmp_path):
    path = write_part(tmp_path / "a.mp3", "mp3", Part(seconds=3.0))
    assert xing_seconds(path) == pytest.approx(3.0, abs=0.1)
    assert probe(path).duration_s == pytest.approx(3.0, abs=0.05)
    tagged = tmp_path / "tagged.mp3"
    tagged.write_bytes(b"ID3\x04\0\0" + bytes([0, 0, 2, 0]) + bytes(256) + path.read_bytes())
    assert xing_seconds(tagged) == xing_seconds(path)
    assert xing_seconds(write_part(tmp_path / "a.flac", "flac", Part())) is None


def test_mpeg_audio_in_wav_is_read_to_its_end(tmp_path):
    path = tmp_path / "a.wav"
    mp3 = write_part(tmp_path / "a.mp3", "mp3", Part(seconds=2.0))
    remuxed(mp3, path, "wav")
    assert probe(path).frames is None
    assert len(read_audio(path)) / 48_000 == pytest.approx(2.0, abs=0.1)


def test_centre_of_film_sound_keeps_its_level(tmp_path):
    names = ("FL", "FR", "FC", "LFE", "BL", "BR")
    speech = tone(Part())
    for name, gain in {"FC": 1.0, "FL": 0.5, "LFE": 0.0, "BL": 0.3536}.items():
        x = np.zeros((len(speech), 6), np.float32)
        x[:, names.index(name)] = speech
        soundfile.write(tmp_path / "a.flac", x, 48_000)  # FLAC defines the layout of six channels
        assert np.abs(read_audio(tmp_path / "a.flac") - gain * speech).max() < 1e-3
        assert np.abs(read_audio(tmp_path / "a.flac", channel=names.index(name)) - speech).max() < 1e-3


def test_inverted_channel_does_not_cancel_the_other(tmp_path):
    rate_hz, speech = 65_536, np.random.default_rng(0).normal(0, 0.1, 65_536 * 3).astype(np.float32)
    inverted = np.column_stack([speech, -speech])
    inverted[rate_hz : 2 * rate_hz, 1] *= -1  # one second is not inverted
    soundfile.write(tmp_path / "a.wav", inverted, rate_hz, subtype="FLOAT")
    for block_samples in (1_000, 48_000, 1 << 20):
        x, reader = read(tmp_path / "a.wav", block_samples=block_samples)
        assert np.array_equal(x, speech)
        assert reader.notes == ("left and right cancel each other in 2 s; the left channel is used there",)
    assert np.array_equal(read_audio(tmp_path / "a.wav", channel=1), inverted[:, 1])


@pytest.mark.parametrize("similarity", [-0.9, -0.5, 0.0, 1.0])
def test_wide_stereo_is_averaged(tmp_path, similarity):
    rng = np.random.default_rng(0)
    left, other = rng.normal(0, 0.1, (2, 48_000)).astype(np.float32)
    right = (similarity * left + np.sqrt(1 - similarity**2) * other).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", np.column_stack([left, right]), 48_000, subtype="FLOAT")
    x, reader = read(tmp_path / "a.wav")
    assert np.array_equal(x, (left + right) / np.float32(2))
    assert reader.notes == ()


def test_clipping_is_noted(tmp_path):
    soundfile.write(tmp_path / "a.wav", 6 * tone(Part()), 48_000, subtype="FLOAT")
    x, reader = read(tmp_path / "a.wav")
    assert x.max() == 1.0
    assert reader.notes == ("samples above full scale are clipped: the peak is 5.1 dB above it",)


@pytest.mark.parametrize("default", [0, 1])
def test_default_track_is_read(tmp_path, default):
    x, reader = read(write_tracks(tmp_path / "a.mka", {"eng": LOW, "deu": HIGH}, default))
    assert pitch(x[:40_000], 48_000) == pytest.approx(880 if default else 440, abs=5)
    assert reader.notes == (f"track {default + 1} of 2 audio tracks is read ({('eng', 'deu')[default]})",)


def test_little_damage_becomes_silence_of_the_same_length(tmp_path):
    path = damaged_mp3(tmp_path / "a.mp3", 20.0, [*range(200, 205), 400])
    with pytest.raises(DamageError, match=r"is damaged near second 4\.\d+: .*0\.14 s cannot be decoded") as refused:
        read(path)
    assert refused.value.needed_s == 26.0
    assert "--accept-damage 26" in refused.value.hint
    with pytest.raises(DamageError):
        read(path, reading=Reading(25.0))
    x, reader = read(path, reading=Reading(26.0))
    assert len(x) / 48_000 == pytest.approx(20.0, abs=0.06)
    (note,) = reader.notes
    assert note.startswith("0.14 s of silence in place of damaged packets, at 4.")
    assert [round(hole.seconds, 3) for hole in reader.holes] == [0.12, 0.024]
    assert pitch(x[-200_000:-10_000], 48_000) == pytest.approx(440, abs=5)


def test_single_lost_frame_is_accepted_in_a_short_file(tmp_path):
    path = damaged_mp3(tmp_path / "a.mp3", 5.0, [100])
    x, reader = read(path)
    assert len(x) / 48_000 == pytest.approx(5.0, abs=0.06)
    assert [round(hole.seconds, 3) for hole in reader.holes] == [0.024]
    with pytest.raises(DamageError) as refused:
        read(path, reading=Reading(0.0))
    assert refused.value.needed_s == 1.0
    assert length_s(path) == pytest.approx(5.0, abs=0.06)


@pytest.mark.parametrize(
    ("accept_s", "length_s", "expected_s"),
    [
        (1.0, 3600.0, 1.0),
        (1.0, 7200.0, 2.0),
        (1.0, 20.0, 0.1),
        (60.0, 20.0, 1 / 3),
        (1.0, 0.5, 0.05),
        (0.0, 3600.0, 0.0),
        (1.0, 0.0, 0.0),
        (3600.0, 10.0, 10.0),
    ],
)
def test_accepted_damage_grows_with_the_length(accept_s, length_s, expected_s):
    assert accepted_damage_s(accept_s, length_s) == pytest.approx(expected_s)


def test_recording_without_sound_is_refused_at_any_limit():
    error = damage_over_limit(Path("a.mp3"), [Stretch(0.0, 5.0)], 0.0, "no reason")
    assert (error.needed_s, error.hint) == (None, "fetch or copy it again")


@pytest.mark.parametrize(
    ("channels", "left", "right"),
    [
        (("FL", "FR", "FC", "LFE", "BL", "BR"), [1, 0, 1, 0, 0.7071, 0], [0, 1, 1, 0, 0, 0.7071]),
        (("FL", "FR", "BL", "BR"), [0.5, 0, 0.5, 0], [0, 0.5, 0, 0.5]),
        (("FL", "FR", "FLC", "FRC", "BC"), [0.4, 0, 0.4, 0, 0.2], [0, 0.4, 0, 0.4, 0.2]),
        (("FC",), [1], [1]),
        (("NONE",) * 4, [0.25] * 4, [0.25] * 4),
    ],
)
def test_stereo_mix_averages_to_the_mono_mix(channels, left, right):
    weights = stereo_weights(channels)
    assert np.allclose(weights, [left, right], atol=1e-4)
    assert np.allclose(weights.mean(axis=0), mono_weights(channels))


def test_channels_without_names_are_averaged():
    assert mono_weights(("NONE",) * 4).tolist() == [0.25] * 4
    assert mono_weights(("FL", "FR")).tolist() == [0.5, 0.5]
    assert mono_weights(("FC",)).tolist() == [1.0]
    x = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    assert fitted(x, ("FL", "FR"), mono_weights(("FL", "FR"))) is x
    assert np.allclose(fitted(x, ("FL", "FR"), mono_weights(("",) * 3)), np.repeat(x.mean(axis=1)[:, None], 3, axis=1))
    assert np.array_equal(fitted(x[:, :1], ("FC",), mono_weights(("FL", "FR"))), np.repeat(x[:, :1], 2, axis=1))
    film = mono_weights(("FL", "FR", "FC", "LFE", "BL", "BR"))
    assert np.allclose(fitted(x, ("FL", "FR"), film) @ film, x.mean(axis=1))
