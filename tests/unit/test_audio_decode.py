"""Reading audio files: formats, channels, and every kind of invalid file, with files made here."""

import os
import struct
import tracemalloc
import wave
from pathlib import Path

import av
import numpy as np
import psutil
import pytest
import soundfile

from sca.audio.coded.containers import open_container
from sca.audio.decode import AudioInfo, BlockReader, probe, read_audio
from sca.audio.resample import resample
from sca.errors import InputError

RATE_HZ = 16_000
CODED = [
    ("opus.webm", "libopus", None, 48_000),
    ("aac.m4a", "aac", None, 44_100),
    ("pcm.mka", "pcm_s16le", "matroska", 16_000),
    ("flac.mka", "flac", "matroska", 16_000),
    ("layer3.mp3", "libmp3lame", None, 24_000),
]


def tone(seconds=2.0, rate_hz=RATE_HZ, hz=440.0, peak=0.5):
    return (peak * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(np.float32)


def noise(samples, seed=0, channels=1):
    x = (np.random.default_rng(seed).standard_normal((samples, channels)) * 0.1).astype(np.float32)
    return x if channels > 1 else x[:, 0]


def encode(target, codec, x, rate_hz, container=None, gap_s=0.0):
    """Write mono `x` with FFmpeg; `gap_s` delays the timestamps of the second half."""
    with av.open(target, "w", format=container) as out:
        stream = out.add_stream(codec, rate=rate_hz)
        stream.layout = "mono"
        out.start_encoding()  # opens the codec, which determines its frame length
        context = stream.codec_context
        fifo = av.AudioResampler(context.format.name, "mono", rate_hz, frame_size=context.frame_size or 1024)
        ready = []
        for i in range(0, len(x), 4096):
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(x[None, i : i + 4096]), "fltp", "mono")
            frame.sample_rate, frame.pts = rate_hz, i
            ready += fifo.resample(frame)
        ready += fifo.resample(None)
        at = 0
        for frame in ready:
            frame.pts = at + (round(gap_s * rate_hz) if at >= len(x) // 2 else 0)
            at += frame.samples
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


class Pipe:
    """A target that cannot seek, like a pipe: writers leave sizes and lengths open."""

    def __init__(self):
        self.content = bytearray()

    def write(self, data):
        self.content += data
        return len(data)


def walk(path, **options):
    with BlockReader(path, **options) as reader:
        return list(reader)


def refused(path, *, reading=False, **options):
    with pytest.raises(InputError) as caught:
        walk(path, **options) if reading else probe(path)
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message
    return caught.value.message.removeprefix(str(path)).strip()


def patched(path, target, **sizes):
    """Copy a WAV with other sizes in its RIFF and data headers."""
    content = bytearray(path.read_bytes())
    at = {"riff": 4, "data": content.index(b"data") + 4}
    for name, size in sizes.items():
        content[at[name] : at[name] + 4] = struct.pack("<I", size)
    target.write_bytes(content)
    return target


@pytest.fixture
def wav(tmp_path):
    path = tmp_path / "two seconds.wav"
    soundfile.write(path, tone(), RATE_HZ, subtype="PCM_16")
    return path


# Headers


@pytest.mark.parametrize(
    ("name", "options", "codec", "container"),
    [
        ("a.wav", {"subtype": "PCM_16"}, "pcm_16", "wav"),
        ("a.wav", {"subtype": "PCM_24", "format": "WAVEX"}, "pcm_24", "wavex"),
        ("a.wav", {"subtype": "FLOAT", "format": "RF64"}, "float", "rf64"),
        ("a.wav", {"subtype": "ULAW"}, "ulaw", "wav"),
        ("a.wav", {"subtype": "PCM_16", "endian": "BIG"}, "pcm_16", "wav"),
        ("a.flac", {}, "flac", "flac"),
        ("a.aiff", {}, "pcm_16", "aiff"),
        ("a.ogg", {"subtype": "VORBIS"}, "vorbis", "ogg"),
        ("no extension", {"format": "FLAC"}, "flac", "flac"),
    ],
)
def test_probes_libsndfile_formats(tmp_path, name, options, codec, container):
    path = tmp_path / name
    soundfile.write(path, np.column_stack([tone(), tone()]), RATE_HZ, **options)
    assert probe(path) == AudioInfo(RATE_HZ, 2, 2 * RATE_HZ, codec, container)
    assert probe(path).duration_s == 2.0


@pytest.mark.parametrize(("name", "codec", "container", "rate_hz"), CODED)
def test_probes_and_reads_ffmpeg_formats(tmp_path, name, codec, container, rate_hz):
    path = tmp_path / name
    x = tone(2.0, rate_hz)
    encode(str(path), codec, x, rate_hz, container)
    info = probe(path)
    assert (info.rate_hz, info.channels) == (rate_hz, 1)
    assert info.duration_s == pytest.approx(2.0, abs=0.1)
    heard = read_audio(path)
    assert heard.dtype == np.float32
    assert len(heard) == pytest.approx(len(x), abs=4096)
    # Codecs shift the audio by some samples.
    spectrum = np.abs(np.fft.rfft(heard[: rate_hz // 2 * 2]))
    assert np.argmax(spectrum) == pytest.approx(440 * len(heard[: rate_hz // 2 * 2]) / rate_hz, abs=2)


def test_reads_mp3_with_another_extension(tmp_path):
    path = tmp_path / "sound.bin"
    encode(str(tmp_path / "a.mp3"), "libmp3lame", tone(), RATE_HZ)
    (tmp_path / "a.mp3").rename(path)
    assert (probe(path).codec, len(read_audio(path))) == ("mp3", pytest.approx(2 * RATE_HZ, abs=2000))


def test_coding_that_cannot_be_decoded_is_an_error(tmp_path):
    """Shorten in NIST SPHERE, as LDC distributes some corpora, is read neither by libsndfile nor by FFmpeg."""
    path = tmp_path / "a.sph"
    soundfile.write(path, tone(), RATE_HZ, format="NIST", subtype="ULAW")
    plain, coded = b"sample_coding -s4 ulaw", b"sample_coding -s26 ulaw,embedded-shorten-v2.00"
    path.write_bytes(path.read_bytes().replace(plain, coded))
    with pytest.raises(InputError, match="in a coding that FFmpeg cannot decode") as raised:
        probe(path)
    assert "sph2pipe" in (raised.value.hint or "")


def test_reads_wav_with_the_extension_raw(tmp_path, wav):
    assert probe(wav.rename(tmp_path / "a.raw")).frames == 2 * RATE_HZ


@pytest.mark.parametrize("name", ["concat:a|b.webm", "http:x.webm", "日本 %d é.webm", os.fsdecode(b"\xff\xfe.webm")])
def test_file_names_are_literal(tmp_path, name):
    encode(str(tmp_path / "a.webm"), "libopus", tone(1.0, 48_000), 48_000)
    assert probe((tmp_path / "a.webm").rename(tmp_path / name)).codec == "opus"


def test_reads_the_audio_of_a_video(tmp_path):
    path = tmp_path / "film.mkv"
    with av.open(str(path), "w") as out:
        pictures = out.add_stream("mpeg4", rate=10)
        pictures.width = pictures.height = 16
        sound = out.add_stream("pcm_s16le", rate=RATE_HZ)
        sound.layout = "mono"
        frame = av.AudioFrame.from_ndarray((tone() * 32767).astype(np.int16)[None], "s16", "mono")
        frame.sample_rate = RATE_HZ
        out.mux(sound.encode(frame))
        for _ in range(10):
            out.mux(pictures.encode(av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8))))
        out.mux(pictures.encode(None))
        out.mux(sound.encode(None))
    assert np.abs(read_audio(path) - tone()).max() < 1e-4


# Samples


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT", "DOUBLE"])
def test_reads_the_written_samples(tmp_path, subtype):
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(), RATE_HZ, subtype=subtype)
    heard = read_audio(path)
    assert heard.dtype == np.float32
    assert np.abs(heard - tone()).max() <= 2**-15


@pytest.mark.parametrize("block_samples", [1, 999, 32_000, 1 << 20])
def test_blocks_have_the_requested_size(wav, block_samples):
    whole = read_audio(wav)
    with BlockReader(wav, block_samples) as reader:
        if block_samples == 1:
            assert len(next(iter(reader))) == 1
            return
        blocks = list(reader)
        assert reader.frames == 2 * RATE_HZ
    assert {len(block) for block in blocks[:-1]} <= {block_samples}
    assert np.array_equal(np.concatenate(blocks), whole)


@pytest.mark.parametrize("block_samples", [1, 777, 1 << 20])
def test_ffmpeg_blocks_have_the_requested_size(tmp_path, block_samples):
    path = tmp_path / "a.mka"
    encode(str(path), "flac", noise(5000), RATE_HZ, "matroska")
    with BlockReader(path, block_samples) as reader:
        blocks = list(reader)
    assert {len(block) for block in blocks[:-1]} <= {block_samples}
    assert np.abs(np.concatenate(blocks) - noise(5000)).max() < 2**-15


@pytest.mark.parametrize("container", ["wav", "mka"])
def test_channels_are_averaged_or_selected(tmp_path, container):
    left, right = noise(4000, 1), noise(4000, 2)
    path = tmp_path / "a.wav"
    soundfile.write(path, np.column_stack([left, right]), RATE_HZ, subtype="FLOAT")
    if container == "mka":
        path = tmp_path / "a.mka"
        with av.open(str(path), "w", format="matroska") as out:
            stream = out.add_stream("pcm_f32le", rate=RATE_HZ)
            stream.layout = "stereo"
            frame = av.AudioFrame.from_ndarray(np.column_stack([left, right]).reshape(1, -1), "flt", "stereo")
            frame.sample_rate = RATE_HZ
            out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
    assert np.abs(read_audio(path) - (left + right) / 2).max() < 1e-7
    assert np.array_equal(read_audio(path, channel=0), left)
    assert np.array_equal(read_audio(path, channel=1), right)
    assert refused(path, reading=True, channel=2) == "has 2 channels (0 to 1); channel 2 does not exist"
    assert refused(path, reading=True, channel=-1).endswith("channel -1 does not exist")


def test_mono_file_has_one_channel(wav):
    assert refused(wav, reading=True, channel=1) == "has 1 channel (0); channel 1 does not exist"
    assert np.array_equal(read_audio(wav, channel=0), read_audio(wav))


def test_six_channels_are_averaged(tmp_path):
    x = noise(1000, channels=6)
    soundfile.write(tmp_path / "a.wav", x, RATE_HZ, subtype="FLOAT")
    assert np.abs(read_audio(tmp_path / "a.wav") - x.mean(axis=1)).max() < 1e-7


def test_non_finite_samples_become_silence_and_are_counted(tmp_path):
    x = noise(1000, channels=2)
    x[10, 0], x[20, 1], x[999] = np.nan, np.inf, -np.inf
    path = tmp_path / "a.wav"
    soundfile.write(path, x, RATE_HZ, subtype="FLOAT")
    with BlockReader(path, 64) as reader:
        heard = np.concatenate(list(reader))
        assert reader.non_finite == 4
    expected = np.where(np.isfinite(x), x, 0).mean(axis=1)
    assert np.abs(heard - expected).max() < 1e-7
    with BlockReader(path, channel=0) as reader:
        list(reader)
        assert reader.non_finite == 2


def test_samples_outside_one_are_clipped(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(peak=3.0), RATE_HZ, subtype="FLOAT")
    heard = read_audio(tmp_path / "a.wav")
    assert (heard.max(), heard.min()) == (1.0, -1.0)
    # Resampling the clipped wave would exceed 1; the result of `read_audio` does not.
    assert np.abs(read_audio(tmp_path / "a.wav", 24_000)).max() == 1.0


def test_read_audio_resamples_like_resample(tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(100_001), 48_000, subtype="FLOAT")
    assert np.array_equal(read_audio(tmp_path / "a.wav", 16_000), resample(noise(100_001), 48_000, 16_000))
    assert np.array_equal(read_audio(tmp_path / "a.wav", 48_000), noise(100_001))


def test_rejects_empty_blocks(wav):
    with pytest.raises(ValueError, match="block_samples"):
        BlockReader(wav, 0)


# Memory and open files


@pytest.mark.parametrize("name", ["a.flac", "a.mka"])
def test_memory_is_bounded_by_the_block(tmp_path, name):
    path = tmp_path / name
    x = noise(60 * 48_000)  # 11.5 MB of float32
    if name == "a.flac":
        soundfile.write(path, x, 48_000)
    else:
        encode(str(path), "flac", x, 48_000, "matroska")

    def peak_bytes():
        with BlockReader(path, 16_384) as reader:
            tracemalloc.start()
            try:
                assert sum(len(block) for block in reader) == len(x)
                return tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()

    # A table of interned strings of the process can grow by 2 MB at any moment, but not twice in a row.
    assert min(peak_bytes(), peak_bytes()) < 1_000_000


@pytest.mark.parametrize("name", ["a.flac", "a.mka"])
def test_early_exit_closes_the_file(tmp_path, name):
    path = tmp_path / name
    if name == "a.flac":
        soundfile.write(path, noise(100_000), RATE_HZ)
    else:
        encode(str(path), "flac", noise(100_000), RATE_HZ, "matroska")

    def open_files():
        me = psutil.Process()
        processes = [me, *me.children()]
        return sum(1 for process in processes for file in process.open_files() if file.path == str(path))

    reader = BlockReader(path, 100)
    first = next(iter(reader))
    assert open_files() == 1
    reader.close()
    reader.close()
    assert open_files() == 0
    assert len(first) == 100
    with BlockReader(path, 100) as reader:
        for _ in reader:
            break
    assert open_files() == 0
    with pytest.raises(InputError):
        BlockReader(path, channel=9)
    probe(path)
    assert open_files() == 0


# Invalid files


def test_missing_file(tmp_path):
    assert refused(tmp_path / "nothing.wav") == "does not exist"
    assert refused(tmp_path / "nothing.wav", reading=True) == "does not exist"


def test_folder(tmp_path):
    assert refused(tmp_path) == "is a folder, not a sound file"


def test_device():
    assert refused(Path(os.devnull)) == "is not a regular file"


def test_file_name_too_long(tmp_path):
    assert refused(tmp_path / ("x" * 300)) == "cannot be read: File name too long"


def test_empty_file(tmp_path):
    (tmp_path / "a.wav").touch()
    assert refused(tmp_path / "a.wav") == "is empty (0 bytes)"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("notes.txt", b"Speaker one: hello there.\n" * 100),
        ("notes.wav", b"Speaker one: hello there.\n" * 100),
        ("noise.mp3", np.random.default_rng(0).bytes(20_000)),
        ("noise.wav", np.random.default_rng(1).bytes(20_000)),
        ("lines.srt", b"1\n00:00:01,000 --> 00:00:02,000\nhello\n\n"),
        ("half a header.wav", b"RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00"),
        ("playlist.m3u8", b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n"),
    ],
)
def test_rejects_files_without_audio(tmp_path, name, content, capfd):
    (tmp_path / name).write_bytes(content)
    assert refused(tmp_path / name).startswith("is not a sound file")
    assert capfd.readouterr().err == ""


def test_reads_files_with_invalid_utf8_tags(tmp_path):
    """Old programs wrote tags in national encodings."""
    path = tmp_path / "tagged.mp3"
    encode(str(path), "libmp3lame", tone(1.0, 24_000), 24_000)
    title = b"\x03" + "caf\xe9".encode("latin-1")  # 3 declares UTF-8
    frame = b"TIT2" + len(title).to_bytes(4, "big") + b"\0\0" + title
    path.write_bytes(b"ID3\x04\0\0" + bytes([0, 0, 0, len(frame)]) + frame + path.read_bytes())
    with open_container(path) as container:
        assert container.format.name == "mp3"
    assert probe(path).duration_s == pytest.approx(1.0, abs=0.1)


def test_video_without_audio(tmp_path):
    path = tmp_path / "silent film.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 16
        for _ in range(10):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8))))
        out.mux(stream.encode(None))
    assert refused(path) == "has no sound track, only video (mov,mp4,m4a,3gp,3g2,mj2)"


@pytest.mark.parametrize("name", ["a.wav", "a.ogg", "a.aiff"])
def test_zero_length(tmp_path, name):
    soundfile.write(tmp_path / name, np.zeros(0, np.float32), RATE_HZ)
    assert refused(tmp_path / name) == "holds no sound: its length is zero"
    assert refused(tmp_path / name, reading=True) == "holds no sound: its length is zero"


@pytest.mark.parametrize(("name", "codec"), [("a.webm", "libopus"), ("a.mka", "flac"), ("a.flac", "flac")])
def test_zero_length_of_a_coded_file(tmp_path, name, codec):
    path = tmp_path / name
    with av.open(str(path), "w") as out:
        out.add_stream(codec, rate=48_000).layout = "mono"
        out.start_encoding()
    assert refused(path) == "holds no sound: its length is zero"


def test_truncated_wav(wav, tmp_path):
    content = wav.read_bytes()
    short = tmp_path / "short.wav"
    short.write_bytes(content[: 44 + RATE_HZ])  # half a second of 16-bit audio
    message = "is cut short: its header promises 2.00 s, the file has 0.50 s"
    assert refused(short) == message
    assert refused(short, reading=True) == message
    short.write_bytes(content[:-1])
    assert len(read_audio(short)) == 2 * RATE_HZ - 1


@pytest.mark.parametrize("options", [{"format": "RF64"}, {"format": "WAVEX"}, {"endian": "BIG"}])
def test_truncated_rifx_and_rf64(tmp_path, options):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.column_stack([tone(4.0), tone(4.0)]), RATE_HZ, subtype="PCM_24", **options)
    path.write_bytes(path.read_bytes()[: -RATE_HZ * 6])
    assert refused(path) == "is cut short: its header promises 4.00 s, the file has 3.00 s"


@pytest.mark.parametrize("riff", [0, 8, 36, 0xFFFFFFFF, 0x7FFFF024])
@pytest.mark.parametrize("data", [0, 0xFFFFFFFF, 0x7FFFF000, 0x7FFFFF00])
def test_reads_wav_with_an_open_size(wav, tmp_path, riff, data):
    streamed = patched(wav, tmp_path / "streamed.wav", riff=riff, data=data)
    assert probe(streamed).frames == 2 * RATE_HZ
    assert np.array_equal(read_audio(streamed), read_audio(wav))


def test_wav_with_an_open_size_and_no_audio(wav, tmp_path):
    empty = patched(wav, tmp_path / "empty.wav", data=0)
    empty.write_bytes(empty.read_bytes()[:44])
    assert refused(empty) == "holds no sound: its length is zero"


def test_reads_wav_with_other_chunks(tmp_path):
    path = tmp_path / "a.wav"
    with wave.open(str(path), "wb") as out:
        out.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
        out.writeframes((tone() * 32767).astype("<i2").tobytes())
    content = path.read_bytes()
    odd = b"LIST\x05\x00\x00\x00INFOx\x00"  # an odd size and the padding byte
    path.write_bytes(content[:12] + odd + content[12:] + odd)
    assert probe(path).frames == 2 * RATE_HZ


def test_reads_streamed_flac_without_a_length(tmp_path):
    pipe = Pipe()
    encode(pipe, "flac", noise(50_000), RATE_HZ, "flac")
    (tmp_path / "a.flac").write_bytes(pipe.content)
    assert probe(tmp_path / "a.flac").frames is None
    assert probe(tmp_path / "a.flac").duration_s is None
    assert len(read_audio(tmp_path / "a.flac")) == 50_000


def test_reads_streamed_webm_without_a_length(tmp_path):
    pipe = Pipe()
    encode(pipe, "libopus", tone(3.0, 48_000), 48_000, "webm")
    (tmp_path / "a.webm").write_bytes(pipe.content)
    assert probe(tmp_path / "a.webm").frames is None
    assert len(read_audio(tmp_path / "a.webm")) == pytest.approx(3 * 48_000, abs=960)


@pytest.mark.parametrize("damage", ["cut", "overwritten"])
def test_damaged_flac_names_the_second(tmp_path, damage):
    path = tmp_path / "a.flac"
    soundfile.write(path, noise(10 * RATE_HZ), RATE_HZ)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    path.write_bytes(content[:middle] if damage == "cut" else content[:middle] + bytes(5000) + content[middle + 5000 :])
    assert probe(path).duration_s == 10.0
    message = refused(path, reading=True, block_samples=4000)
    place = "its header promises 10.00 s, the file has" if damage == "cut" else "near second"
    assert f"{place} 4." in message or f"{place} 5." in message


@pytest.mark.parametrize(("name", "codec", "container", "rate_hz"), [CODED[0], CODED[3], CODED[4]])
def test_truncated_coded_file(tmp_path, name, codec, container, rate_hz, capfd):
    path = tmp_path / name
    encode(str(path), codec, noise(10 * rate_hz), rate_hz, container)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    message = refused(path, reading=True)
    assert message.startswith(("is cut short: its header promises 10.0", "is damaged near second "))
    assert capfd.readouterr().err == ""


def test_truncated_m4a_has_no_index(tmp_path):
    path = tmp_path / "a.m4a"
    encode(str(path), "aac", noise(5 * RATE_HZ), RATE_HZ)
    path.write_bytes(path.read_bytes()[:-4000])
    assert refused(path).startswith("is not a sound file, or its beginning is damaged")


def test_damaged_m4a_names_the_second(tmp_path):
    path = tmp_path / "a.m4a"
    encode(str(path), "aac", noise(10 * RATE_HZ), RATE_HZ)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4000] = np.random.default_rng(0).bytes(4000)
    path.write_bytes(content)
    assert refused(path, reading=True).startswith(("is damaged near second 4.", "is damaged near second 5."))


def test_gap_is_filled_so_that_later_audio_keeps_its_time(tmp_path):
    path = tmp_path / "a.webm"
    encode(str(path), "libopus", tone(4.0, 48_000), 48_000, gap_s=3.0)
    with BlockReader(path) as reader:
        heard = np.concatenate(list(reader))
        assert reader.filled_samples == pytest.approx(3 * 48_000, abs=960)
    assert len(heard) == pytest.approx(7 * 48_000, abs=1920)
    loud = np.abs(heard.reshape(-1)[: 7 * 48_000 - 48_000].reshape(-1, 4800)).max(axis=1) > 0.25
    # 100 ms pieces: two seconds of tone, three of silence, tone again.
    assert loud[1:19].all()
    assert not loud[21:49].any()
    assert loud[51:].all()


def test_timestamp_jump_of_hours_is_damage(tmp_path):
    pipe = Pipe()
    encode(pipe, "libopus", tone(2.0, 48_000), 48_000, "webm", gap_s=36_000.0)
    (tmp_path / "a.webm").write_bytes(pipe.content)
    message = refused(tmp_path / "a.webm", reading=True)
    assert message.startswith("is damaged near second 1.")
    assert "its clock jumps to second 3600" in message
