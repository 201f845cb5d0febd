"""The display buffer, the window and the times of pictures, for all inputs."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sca.watch.capture.display import DisplayBuffer
from sca.watch.capture.jpeg import RateControl
from sca.watch.capture.times import MAX_GAP_US, Sampler, Timeline
from sca.watch.capture.window import InferenceWindow
from sca.watch.frames import JpegFrame, VideoFrame

PIXELS = np.zeros((1, 1, 3), np.uint8)
SIZES = st.lists(st.tuples(st.integers(0, 500_000), st.integers(1, 300)), min_size=1, max_size=60)


def jpeg(index: int, time_us: int, size: int = 1) -> JpegFrame:
    return JpegFrame(index, time_us, time_us, 1, 1, bytes(size))


def filled(steps, seconds: float, most: int) -> tuple[DisplayBuffer, list[JpegFrame]]:
    buffer, frames, time_us = DisplayBuffer(seconds, most), [], 0
    for index, (step_us, size) in enumerate(steps):
        time_us += step_us
        frames.append(jpeg(index, time_us, size))
        buffer.add(frames[-1])
    return buffer, frames


@given(SIZES, st.floats(0.1, 5), st.integers(1, 2000))
def test_the_buffer_holds_the_longest_allowed_end(steps, seconds, most):
    buffer, frames = filled(steps, seconds, most)

    def allowed(held: list[JpegFrame]) -> bool:
        span_us = held[-1].time_us - held[0].time_us
        return len(held) == 1 or (span_us <= round(seconds * 1e6) and sum(len(frame.data) for frame in held) <= most)

    held = frames[-len(buffer) :]
    assert allowed(held)
    assert len(held) == len(frames) or not allowed(frames[-len(buffer) - 1 :])
    assert buffer.n_bytes == sum(len(frame.data) for frame in held)
    assert buffer.latest() is frames[-1]


@given(SIZES, st.integers(-1_000_000, 40_000_000))
def test_the_picture_near_a_time_is_the_one_on_the_screen(steps, time_us):
    buffer, frames = filled(steps, 3600, 1 << 30)
    shown = [frame for frame in frames if frame.time_us <= time_us]
    assert buffer.get_frame_near(time_us) is (shown[-1] if shown else frames[0])


@given(SIZES, st.integers(-1, 70))
def test_the_next_picture_is_the_oldest_held_after_an_index(steps, index):
    buffer, frames = filled(steps, 1.0, 2000)
    held = frames[-len(buffer) :]
    after = [frame for frame in held if frame.index > index]
    assert buffer.wait_newer(index, 0.0) is (after[0] if after else None)


@given(st.integers(0, 80), st.integers(1, 40), st.integers(1, 10), st.integers(1, 10))
def test_the_window_selects_by_stride_from_the_newest(count, size, frames_per_inference, frame_stride):
    window = InferenceWindow(size)
    for index in range(count):
        window.add(VideoFrame(index, index, index, PIXELS))
    wanted = [count - 1 - frame_stride * back for back in range(frames_per_inference)]
    wanted = [index for index in wanted if index >= max(0, count - size)]
    assert [frame.index for frame in window.select(frames_per_inference, frame_stride)] == wanted[::-1]


@given(st.lists(st.none() | st.integers(-(1 << 40), 1 << 40) | st.integers(0, 500_000), max_size=50))
def test_times_increase_by_no_more_than_the_longest_gap(stamps):
    timeline = Timeline(40_000)
    times = [timeline.time_us(stamp) for stamp in stamps]
    assert times[:1] in ([], [0])
    assert all(0 < later - earlier <= MAX_GAP_US for earlier, later in itertools.pairwise(times))


@given(st.lists(st.integers(1, 2_000_000), max_size=50), st.integers(-(1 << 40), 1 << 40))
def test_good_time_stamps_stay_as_they_are(steps, origin_us):
    stamps = [origin_us + int(offset) for offset in np.cumsum([0, *steps])]
    timeline = Timeline(40_000)
    assert [timeline.time_us(stamp) for stamp in stamps] == [stamp - origin_us for stamp in stamps]


@given(st.lists(st.integers(0, 3_000_000), max_size=80), st.floats(0.2, 60))
def test_a_sampler_takes_no_more_than_its_rate(steps, fps):
    sampler, times = Sampler(fps), [int(time) for time in np.cumsum([0, *steps])]
    taken = [time for time in times if sampler.takes(time)]
    assert taken[0] == 0
    cells = [time // max(1, round(1e6 / fps)) for time in taken]
    assert len(set(cells)) == len(cells)
    assert set(cells) == {time // max(1, round(1e6 / fps)) for time in times}


@given(st.integers(10_000, 5_000_000), st.floats(20_000, 3_000_000))
def test_the_rate_of_jpeg_pictures_is_held_or_the_scale_is_worst(bytes_per_s, bytes_at_scale_1):
    control = RateControl(bytes_per_s)
    sizes = []
    for index in range(400):
        sizes.append(int(bytes_at_scale_1 / control.scale))
        control.add(index * 40_000, sizes[-1])
    assert np.mean(sizes[-100:]) * 25 <= bytes_per_s or control.scale == 31
