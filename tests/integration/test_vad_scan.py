"""Speech of whole recordings: the scan finds what the stream finds, and leaves out only stretches without speech."""

import json

import numpy as np
import pyarrow as pa
import pytest
import soundfile as sf

from sca.audio.pcm import float32_to_int16
from sca.audio.silero_products import open_products
from sca.audio.vad import SileroVad, find_silero_model, speech_segments
from sca.audio.vad_scan import ScanVad, VadScan, quiet_frames
from sca.data.duplex.audio.stored_samples import samples_digest
from sca.data.duplex.audio.vad_spans import TrackListener, listen
from tests.helpers import corpus

RATE = 16_000


@pytest.fixture(scope="module")
def vads():
    return SileroVad(), ScanVad()


@pytest.fixture(scope="module")
def voices(tmp_path_factory):
    """Both tracks of the demo conversation."""
    return [samples for samples, _ in demo(tmp_path_factory.mktemp("voices"))]


def demo(folder):
    """Yield the samples of each track, and which of them are in words."""
    source = corpus.demo(folder / "corpus")
    for path in sorted((source / "WAV").iterdir()):
        samples = sf.read(path, dtype="float32")[0]
        words = np.zeros(len(samples), bool)
        for _, start, end in json.loads((source / "WORDS" / f"{path.stem}.json").read_text()):
            words[int(start * RATE) : int(end * RATE)] = True
        yield samples, words


def scanned(vad, samples, block=50_000):
    scan = VadScan(vad)
    for start in range(0, len(samples), block):
        scan.push(samples[start : start + block])
    return scan.finish()


def occupied(probabilities, samples):
    found = np.zeros(samples, bool)
    for start, end in speech_segments(probabilities, total_samples=samples):
        found[start:end] = True
    return found


def agreement(vads, samples):
    plain = occupied(vads[0].probabilities(samples), len(samples))
    return float((plain == occupied(scanned(vads[1], samples), len(samples))).mean())


def test_the_installed_model_is_the_known_one():
    assert open_products(find_silero_model()) is not None


def test_another_model_file_is_used_as_it_is(tmp_path, monkeypatch, voices):
    other = tmp_path / "other.onnx"
    other.write_bytes(find_silero_model().read_bytes() + b"\x2a\x00")  # an empty field of a newer version
    monkeypatch.setattr("sca.audio.vad_scan.find_silero_model", lambda: other)
    vad = ScanVad()
    assert open_products(other) is None
    assert agreement((vad.plain, vad), voices[0]) >= 0.99


def test_matrix_products_give_the_same_probabilities(vads, voices):
    samples = voices[0][: 30 * RATE // 512 * 512]
    held = np.concatenate([np.zeros(64, np.float32), samples])
    zero = np.zeros((1, 1, 128), np.float32)
    found, h, c = vads[1].run(held, zero, zero)
    stream = vads[0].stream()
    np.testing.assert_allclose(found, stream.push(samples), atol=1e-4)
    np.testing.assert_allclose(h, stream._h, atol=1e-3)
    np.testing.assert_allclose(c, stream._c, atol=1e-2)


def test_any_blocks_give_the_same_result(vads, voices):
    samples = np.concatenate([voices[0]] * 3)  # more than 60 s
    assert len(samples) > 60 * RATE
    whole = scanned(vads[1], samples, len(samples))
    assert len(whole) == len(samples) // 512
    for block in (511, 12_345, 60 * RATE):
        np.testing.assert_array_equal(scanned(vads[1], samples, block), whole)


def test_speech_is_that_of_the_stream(vads, voices):
    for samples in voices:
        assert agreement(vads, samples) >= 0.99


@pytest.mark.parametrize("peak_db", [0, -30, -60])
@pytest.mark.parametrize("noise_db", [None, -90, -70])
@pytest.mark.parametrize("added", [0.0, 0.05], ids=["", "offset and hum"])
def test_the_scan_is_at_least_as_right_as_the_stream(vads, tmp_path, peak_db, noise_db, added):
    # A stream misses words after long silence, most of all in hum, so the two cannot be compared with each other.
    for samples, words in demo(tmp_path):
        sound = samples / np.abs(samples).max() * 10 ** (peak_db / 20) * 0.9
        if noise_db is not None:
            sound += np.random.default_rng(0).normal(0, 10 ** (noise_db / 20), len(sound))
        sound += added * (1 + np.sin(2 * np.pi * 50 * np.arange(len(sound)) / RATE)) / 2
        stored = float32_to_int16(sound.astype(np.float32)).astype(np.float32) / 32768
        plain = occupied(vads[0].probabilities(stored), len(stored))
        found = occupied(scanned(vads[1], stored), len(stored))
        assert found[words].mean() >= plain[words].mean() - 0.01
        assert found[~words].mean() <= plain[~words].mean() + 0.03


def test_silence_and_noise_have_no_speech(vads):
    rng = np.random.default_rng(0)
    for level in (0.0, 1e-4, 0.05):
        samples = rng.normal(0, level, 90 * RATE).astype(np.float32)
        assert not occupied(scanned(vads[1], samples), len(samples)).any()


def test_steady_sound_with_speech_is_not_left_out(vads, voices):
    spoken = occupied(vads[0].probabilities(voices[0]), len(voices[0]))
    only = voices[0][: len(spoken)][spoken]  # speech without a pause: its quietest tenth is speech as well
    assert agreement(vads, only) >= 0.985


def test_most_of_a_pause_is_left_out(vads, voices):
    calls = []

    class Counting(ScanVad):
        def run(self, held, h, c):
            calls.append((len(held) - 64) // 512)
            return super().run(held, h, c)

    samples = np.concatenate([voices[0], np.zeros(60 * RATE, np.float32), voices[0]])
    scanned(Counting(), samples)
    assert sum(calls) * 512 <= 2 * len(voices[0]) + 5 * RATE


def test_quiet_frames_of_nothing():
    assert quiet_frames(np.zeros(0, np.float32)).shape == (0,)


def test_every_frame_is_that_of_a_stream(vads, voices):
    samples = float32_to_int16(voices[0])
    listener = TrackListener(every_frame=True)
    for start in range(0, len(samples), 7777):
        listener.push(samples[start : start + 7777])
    found = listener.finish()
    plain = vads[0].probabilities(samples.astype(np.float32) / 32768)
    assert found.speech == speech_segments(plain, total_samples=len(samples))
    assert found.peak == np.abs(samples.astype(np.int32)).max() / 32768


@pytest.mark.parametrize("peak_db", [-35, -60])
def test_a_quiet_voice_is_found(tmp_path, peak_db):
    for samples, words in demo(tmp_path):
        found = []
        for peak in (0.5, 10 ** (peak_db / 20)):
            sf.write(tmp_path / "voice.flac", samples / np.abs(samples).max() * peak, RATE, "PCM_16")
            found.append(np.zeros(len(samples), bool))
            for start, end in listen(tmp_path / "voice.flac").speech:
                found[-1][start:end] = True
        assert found[1][words].mean() >= 0.9
        assert (found[0] == found[1]).mean() >= 0.98


@pytest.mark.parametrize("level", [0.4, 1.0, 30.0])
def test_faint_noise_has_no_speech(tmp_path, level):
    noise = np.random.default_rng(0).normal(0, level / 32768, 60 * RATE)
    sf.write(tmp_path / "noise.flac", noise, RATE, "PCM_16")
    assert listen(tmp_path / "noise.flac").speech == []


def test_a_short_recording_has_no_speech():
    assert TrackListener().finish().speech == []
    listener = TrackListener()
    listener.push(np.ones(100, np.int16))
    assert listener.finish().speech == []


def test_samples_have_one_digest_in_every_format(tmp_path, voices):
    digests = set()
    for name in ("a.flac", "a.wav"):
        sf.write(tmp_path / name, voices[0], RATE, subtype="PCM_16")
        digests |= {samples_digest(tmp_path / name), samples_digest(pa.py_buffer((tmp_path / name).read_bytes()))}
        assert listen(tmp_path / name).speech
    content = bytearray((tmp_path / "a.flac").read_bytes())
    content[26:42] = bytes(16)  # an encoder that did not compute it
    digests.add(samples_digest(pa.py_buffer(bytes(content))))
    assert len(digests) == 1
    sf.write(tmp_path / "b.flac", voices[1], RATE, subtype="PCM_16")
    assert samples_digest(tmp_path / "b.flac") not in digests
