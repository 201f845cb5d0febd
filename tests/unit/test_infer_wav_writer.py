"""WAV files and tracks that are written as time passes."""

import contextlib
import errno

import numpy as np
import pytest
import soundfile

from sca.audio.pcm import INT16_MAX, pcm16_bytes
from sca.errors import OutputError
from sca.infer.session.track_writer import TrackWriter
from sca.infer.session.wav_writer import WavWriter


def pcm(*values):
    return np.array(values, "<i2").tobytes()


def read(path):
    samples, rate = soundfile.read(path, dtype="int16")
    return samples.tolist(), rate


def test_converts_to_symmetric_int16():
    assert np.frombuffer(pcm16_bytes(np.array([0, 1, -1, 2, -2, 0.5], np.float32), INT16_MAX), "<i2").tolist() == [
        0, 32767, -32767, 32767, -32767, 16384,
    ]  # fmt: skip


def test_places_audio_at_its_time(tmp_path):
    with WavWriter(tmp_path / "a.wav", 24_000) as wav:
        track = TrackWriter(wav)
        track.put(2, pcm(1, 2))
        track.put(4, pcm(3))
        track.put(7, pcm(4, 5))
        track.finish(10)
    assert read(tmp_path / "a.wav") == ([0, 0, 1, 2, 3, 0, 0, 4, 5, 0], 24_000)


def test_overlapping_audio_is_placed_after_the_previous(tmp_path):
    with WavWriter(tmp_path / "a.wav", 24_000) as wav:
        track = TrackWriter(wav)
        track.put(1, pcm(1, 2, 3))
        track.put(2, pcm(4))
        track.finish(6)
    assert read(tmp_path / "a.wav")[0] == [0, 1, 2, 3, 4, 0]


@pytest.mark.parametrize("settled", [0, 2, 3])
def test_cut_audio_is_removed(tmp_path, settled):
    with WavWriter(tmp_path / "a.wav", 24_000) as wav:
        track = TrackWriter(wav)
        track.put(1, pcm(1, 2, 3, 4))
        track.commit(settled)
        track.cut(3)
        track.put(6, pcm(9))
        track.finish(8)
    assert read(tmp_path / "a.wav")[0] == [0, 1, 2, 0, 0, 0, 9, 0]


def test_finish_sets_the_exact_length(tmp_path):
    with WavWriter(tmp_path / "a.wav", 24_000) as wav:
        track = TrackWriter(wav)
        track.put(0, pcm(*range(10)))
        track.commit(8)
        track.finish(5)
    assert read(tmp_path / "a.wav")[0] == [0, 1, 2, 3, 4]


def test_empty_track_is_a_valid_wav(tmp_path):
    with WavWriter(tmp_path / "a.wav", 16_000):
        pass
    assert soundfile.info(tmp_path / "a.wav").frames == 0


def test_file_appears_only_when_complete(tmp_path):
    target = tmp_path / "deep" / "a.wav"
    with WavWriter(target, 16_000) as wav:
        wav.write(pcm(1))
        assert not target.exists()
    assert read(target)[0] == [1]
    target.unlink()
    with contextlib.suppress(KeyError), WavWriter(target, 16_000) as wav:
        wav.write(pcm(1, 2))
        raise KeyError
    assert list(target.parent.iterdir()) == []


def test_keep_preserves_a_partial_recording(tmp_path):
    with contextlib.suppress(KeyError), WavWriter(tmp_path / "a.wav", 16_000, keep=True) as wav:
        wav.write(pcm(1, 2))
        raise KeyError
    assert read(tmp_path / "a.wav")[0] == [1, 2]


def test_rejects_unwritable_paths(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.wav").mkdir()
    for path in (tmp_path / "file" / "a.wav", tmp_path / "folder.wav"):
        with pytest.raises(OutputError, match="cannot create"):
            WavWriter(path, 16_000)


def test_full_disk_is_one_error_line(tmp_path):
    class Full:
        closed = False

        def write(self, data):
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self):
            self.closed = True

    wav = WavWriter(tmp_path / "a.wav", 16_000)
    wav._file.close()
    wav._file = Full()
    with pytest.raises(OutputError, match="the disk is full"):
        wav.write_silence(5)
    wav.discard()
    assert list(tmp_path.iterdir()) == []
