"""What does capturing a video cost?

    python scripts/bench/watch_capture.py [--seconds 20] [--size 1280x720] [VIDEO]

Conditions: the test scoreboard at 25 pictures per second (H.264 of libx264), or a video, scaled by the encoder to the size;
read in its child process at its native rate into a display buffer of 15 s and 45 MB and a window of 2 pictures per second, as
`sca watch` does. Reported: processor time of both processes by second of video (cores), bytes of a JPEG picture, what the
buffer holds, how late pictures were, and the peak of resident memory.

Then, in this process and on the same pictures, milliseconds of processor time for a picture: decoding; conversion to
full-range YUV, with and without its colour matrix; RGB; and JPEG files by FFmpeg's encoder at several scales and by Pillow at
quality 85, with their bytes. The last line is JSON.
"""

import argparse
import io
import json
import statistics
import tempfile
import time
from pathlib import Path

import av
import numpy as np
import psutil
from PIL import Image

from sca.watch.capture.capture import Capture, CaptureSettings
from sca.watch.capture.display import DisplayBuffer
from sca.watch.capture.jpeg import JpegWriter, RateControl
from sca.watch.capture.window import InferenceWindow
from tests.helpers.video import Score, make_video, scoreboard_pictures

PICTURES = 100


def clip(folder, seconds, size, video):
    if video is None:
        changes = [Score(at_s, int(at_s), 0) for at_s in np.arange(1, seconds, 3.0)]
        pictures = scoreboard_pictures(changes, seconds=seconds, size=size)
    else:
        pictures = repeated(video, seconds, size)
    return make_video(folder / "clip.mp4", pictures, options={"preset": "veryfast"})


def repeated(video, seconds, size):
    left = seconds * 25
    while left:
        with av.open(str(video)) as container:
            for frame in container.decode(video=0):
                if not left:
                    return
                left -= 1
                yield frame.reformat(*size, "rgb24").to_ndarray()


def captured(path):
    display, window = DisplayBuffer(), InferenceWindow()
    capture = Capture(str(path), display, window, CaptureSettings())
    info = capture.open()
    child = psutil.Process(capture._source.pid)
    own_s, child_s = time.process_time(), sum(child.cpu_times()[:2])
    capture.start()
    peak, seen, late_ms, sizes, first = 0, -1, [], [], None
    while (frame := display.wait_newer(seen, 5)) is not None:
        seen = frame.index
        first = first or frame
        late_ms.append((frame.at_us - first.at_us - frame.time_us + first.time_us) / 1e3)
        sizes.append(len(frame.data))
        if seen % 25 == 0:
            peak = max(peak, child.memory_info().rss)
            used_s = time.process_time() - own_s, sum(child.cpu_times()[:2]) - child_s
            media_s = frame.time_us / 1e6
    held = {"bytes": display.n_bytes, "seconds": display.seconds, "pictures": len(display)}
    capture.close()
    return {
        "source": f"{info.width}x{info.height} {info.codec}",
        "cores": round(sum(used_s) / media_s, 3),
        "cores_of_the_child": round(used_s[1] / media_s, 3),
        "jpeg_bytes": round(statistics.mean(sizes)),
        "held": held,
        "late_ms_p50_p95": [round(float(np.percentile(late_ms, share)), 1) for share in (50, 95)],
        "child_resident_mib": peak >> 20,
    }


def timed(frames, work):
    begun_s = time.process_time()
    results = [work(frame) for frame in frames]
    return round((time.process_time() - begun_s) / len(frames) * 1e3, 2), results


def parts(path):
    rows = {}
    with av.open(str(path)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        stream = container.decode(video=0)
        rows["decode"], frames = timed(range(PICTURES), lambda _: next(stream))
    convert = av.video.reformatter.VideoReformatter().reformat
    rows["to_jpeg_range"], full = timed(frames, lambda f: convert(f, format="yuvj420p", dst_color_range="JPEG"))
    rows["to_jpeg_range_and_matrix"], _ = timed(
        frames,
        lambda f: convert(
            f, format="yuvj420p", src_colorspace="ITU709", dst_colorspace="ITU601", dst_color_range="JPEG"
        ),
    )
    to_rgb = av.video.reformatter.VideoReformatter().reformat
    rows["to_rgb"], pictures = timed(frames, lambda f: to_rgb(f, format="rgb24").to_ndarray())
    sizes = {}
    for scale in (3, 4, 8, 16):
        control = RateControl(1 << 40)
        control.scale = scale
        control.add = lambda *_: None
        writer = JpegWriter(control)
        rows[f"ffmpeg_{scale}"], files = timed(
            list(enumerate(full)), lambda item, writer=writer: writer.encode(item[1], item[0])
        )
        sizes[f"ffmpeg_{scale}"] = round(statistics.mean(map(len, files)))
    rows["pillow_85"], files = timed(pictures, pillow)
    sizes["pillow_85"] = round(statistics.mean(map(len, files)))
    return {"ms": rows, "bytes": sizes}


def pillow(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=85)
    return file.getvalue()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video", nargs="?", type=Path)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--size", default="1280x720")
    options = parser.parse_args()
    size = tuple(map(int, options.size.split("x")))
    with tempfile.TemporaryDirectory() as folder:
        path = clip(Path(folder), options.seconds, size, options.video)
        result = {"load": psutil.getloadavg()[0], **captured(path), **parts(path)}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
