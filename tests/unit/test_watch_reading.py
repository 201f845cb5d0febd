"""Videos of all kinds as pictures, read in this process."""

import io
from dataclasses import replace

import av
import numpy as np
import pytest
from PIL import Image

from sca.errors import InputError
from sca.watch.capture.address import parse_address
from sca.watch.capture.jpeg import is_whole_jpeg
from sca.watch.capture.messages import SourceRequest
from sca.watch.capture.opening import FILE_FORMATS, STREAM_FORMATS
from sca.watch.capture.reading import VideoReader
from tests.helpers.video import level_picture, make_video, mean_level

SIZE = (64, 48)


def request(path, **fields) -> SourceRequest:
    return replace(SourceRequest(parse_address(str(path)), capture_fps=1000), **fields)


def pictures(path, **fields):
    reader = VideoReader(request(path, **fields))
    found = list(reader.pictures())
    reader.close()
    return found


def shown(picture) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(picture.jpeg)))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mp4", {}),
        ("a.mkv", {}),
        ("a.webm", {}),
        ("a.mov", {}),
        ("a.ts", {}),
        ("a.avi", {}),
        ("a.mjpeg", {}),
        ("a.h264", {}),
        ("a%02d.mp4", {"audio": True}),
        ("hdr.mp4", {"codec": "libx265", "pixels": "yuv420p10le"}),
        ("alpha.mkv", {"codec": "ffv1", "pixels": "bgra"}),
        ("deep.mkv", {"codec": "ffv1", "pixels": "gbrp12le"}),
    ],
)
def test_every_picture_comes_with_its_time(tmp_path, name, options):
    found = pictures(make_video(tmp_path / name, 12, size=SIZE, **options))
    assert [picture.time_us for picture in found] == [index * 40_000 for index in range(12)]
    for index, picture in enumerate(found):
        assert mean_level(picture.pixels) == pytest.approx(40 + 4 * index, abs=4)
        assert mean_level(shown(picture)) == pytest.approx(40 + 4 * index, abs=6)
        assert shown(picture).shape == picture.pixels.shape == (48, 64, 3)
        assert (picture.jpeg_width, picture.jpeg_height) == SIZE
        assert picture.pixels[4, 4].tolist() == pytest.approx([220, 30, 30], abs=25)


def test_times_are_those_of_presentation(tmp_path):
    times_s = [0, 0.04, 0.5, 0.54, 2, 2.2]
    found = pictures(make_video(tmp_path / "a.mkv", 6, size=SIZE, times_s=times_s))
    assert [picture.time_us for picture in found] == [round(time_s * 1e6) for time_s in times_s]


@pytest.mark.parametrize(("degrees", "corner"), [(90, (0, -1)), (180, (-1, -1)), (270, (-1, 0))])
def test_pictures_are_turned_as_players_do(tmp_path, degrees, corner):
    path = make_video(tmp_path / "a.mp4", 2, size=SIZE, rotate=degrees)
    reader = VideoReader(request(path))
    picture = next(reader.pictures())
    info = reader.info()
    reader.close()
    shape = (48, 64, 3) if degrees == 180 else (64, 48, 3)
    assert picture.pixels.shape == shown(picture).shape == shape
    assert (info.height, info.width) == shape[:2]
    for pixels in (picture.pixels, shown(picture)):
        assert pixels[corner].tolist() == pytest.approx([220, 30, 30], abs=30)


def test_pixels_that_are_wide_are_displayed_wide(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = 2
        output.mux(stream.encode(av.VideoFrame.from_ndarray(level_picture(0, SIZE))))
        output.mux(stream.encode())
    assert pictures(path)[0].pixels.shape == (48, 128, 3)


def test_odd_sizes_and_scaling(tmp_path):
    path = make_video(tmp_path / "a.mkv", 2, size=(75, 51), codec="ffv1", pixels="yuv444p")
    assert pictures(path)[0].pixels.shape == shown(pictures(path)[0]).shape == (51, 75, 3)
    small = pictures(path, frame_side=25, display_side=50)[0]
    assert (small.pixels.shape, shown(small).shape) == ((17, 25, 3), (34, 50, 3))


def test_rates_for_display_and_engine_are_apart(tmp_path):
    path = make_video(tmp_path / "a.mkv", 50, size=SIZE)
    found = pictures(path, capture_fps=2, display_fps=5)
    assert [picture.time_us for picture in found if picture.pixels is not None] == [0, 520_000, 1_000_000, 1_520_000]
    assert [picture.time_us for picture in found if picture.jpeg] == [index * 200_000 for index in range(10)]


def test_motion_jpeg_is_passed_on_unless_too_large(tmp_path):
    path = make_video(tmp_path / "a.avi", 4, size=SIZE)
    with av.open(str(path)) as container:
        stored = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    assert [picture.jpeg for picture in pictures(path)] == stored
    assert all(picture.jpeg not in stored and picture.jpeg_width == 32 for picture in pictures(path, display_side=32))
    assert is_whole_jpeg(stored[0])
    assert not is_whole_jpeg(stored[0][:-9])
    assert not is_whole_jpeg(stored[0].replace(b"\xff\xc4", b"\xff\xfe"))
    assert not is_whole_jpeg(stored[0] + stored[1])


def test_rich_pictures_are_held_below_the_rate(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (60, 120, 160, 3), np.uint8)
    path = make_video(tmp_path / "a.mkv", noise, codec="ffv1", pixels="yuv420p")
    sizes = [len(picture.jpeg) for picture in pictures(path, display_bytes_per_s=200_000)]
    assert sum(sizes[:10]) * 2.5 > 200_000
    assert 100_000 < sum(sizes[-25:]) <= 200_000


@pytest.mark.parametrize("kind", ["png", "jpg", "webp", "bmp", "tiff"])
def test_a_file_with_one_picture_is_a_source_of_one(tmp_path, kind):
    path = tmp_path / f"a%03d.{kind}"
    Image.fromarray(level_picture(5, SIZE)).save(path)
    (picture,) = pictures(path)
    assert picture.time_us == 0
    assert mean_level(picture.pixels) == pytest.approx(60, abs=4)


def test_time_goes_on_when_a_file_starts_again(tmp_path):
    path = make_video(tmp_path / "a.mp4", 3, size=SIZE)
    reader = VideoReader(request(path, loop=True))
    stream = reader.pictures()
    found = [next(stream) for _ in range(7)]
    reader.close()
    assert [picture.time_us for picture in found] == [index * 40_000 for index in range(7)]
    assert mean_level(found[6].pixels) == pytest.approx(mean_level(found[0].pixels), abs=1)


def test_reading_starts_at_a_place(tmp_path):
    path = make_video(tmp_path / "a.mp4", 40, size=SIZE)
    found = pictures(path, start_us=1_200_000)
    assert [picture.time_us for picture in found] == [index * 40_000 for index in range(30, 40)]
    assert mean_level(found[0].pixels) == pytest.approx(160, abs=4)


def test_time_stamps_that_start_again_go_on(tmp_path):
    part = make_video(tmp_path / "a.ts", 10, size=SIZE).read_bytes()
    (tmp_path / "twice.ts").write_bytes(part * 2)
    times = [picture.time_us for picture in pictures(tmp_path / "twice.ts")]
    assert len(times) >= 18  # the joint may cost a picture
    assert times == sorted(set(times))
    assert times[-1] < 1_000_000


def test_a_file_that_is_cut_or_damaged_gives_its_rest(tmp_path):
    whole = make_video(tmp_path / "a.ts", 50, size=SIZE).read_bytes()
    (tmp_path / "cut.ts").write_bytes(whole[: len(whole) // 2])
    assert 10 < len(pictures(tmp_path / "cut.ts")) < 40
    middle = bytearray(whole)
    middle[len(whole) // 3 : len(whole) // 3 + 400] = bytes(400)
    (tmp_path / "hole.ts").write_bytes(middle)
    assert len(pictures(tmp_path / "hole.ts")) > 30


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "a.mp4 is empty"),
        (b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n", "a.mp4 is a playlist"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", None),
        (b"no video" * 100, None),
    ],
)
def test_files_that_are_refused(tmp_path, content, message):
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises((InputError, av.FFmpegError), match=message):
        pictures(tmp_path / "a.mp4")


def test_sound_and_covers_are_not_video(tmp_path):
    path = tmp_path / "a.m4a"
    with av.open(str(path), "w", format="mp4") as output:
        stream = output.add_stream("aac", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16_000
        output.mux(stream.encode(frame))
        output.mux(stream.encode())
    with pytest.raises(InputError, match="contains sound only"):
        pictures(path)


def test_pictures_above_8k_are_refused(tmp_path):
    Image.new("1", (8200, 4610)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="8200×4610 pixels"):
        pictures(tmp_path / "a.png")


def test_no_format_opens_other_files():
    opening = {"concat", "concatf", "dash", "sdp", "image2", "rtsp", "imf", "hls", "lavfi"}
    assert not opening & set(FILE_FORMATS)
    assert opening & set(STREAM_FORMATS) == {"hls"}
