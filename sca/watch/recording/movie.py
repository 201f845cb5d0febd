"""An MP4 file of a session: pictures, commentary as sound, and subtitles. Written in one pass, with bounded memory."""

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sca.audio.pcm import float32_to_int16
from sca.errors import check_target
from sca.files.atomic import cannot_write, create_new, publish, temporary_of
from sca.watch.frames import JpegFrame

if TYPE_CHECKING:
    from av import Packet

__all__ = ["SOUND_HZ", "Movie"]

SOUND_HZ = 48_000
_US = Fraction(1, 1_000_000)
_TICKS = Fraction(1, 90_000)
_BLOCK = 1024
"""Samples of an AAC frame."""
_HEADER = (
    b"[Script Info]\r\nScriptType: v4.00+\r\n\r\n[V4+ Styles]\r\nFormat: Name, Fontname, Fontsize\r\n"
    b"Style: Default,Arial,16\r\n\r\n[Events]\r\n"
    b"Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\r\n"
)
_X264 = {"preset": "ultrafast", "crf": "23", "g": "50"}


class Movie:
    """One thread writes. Times are microseconds since the first picture.

    Args:
        path: The file. It appears when it is whole; until then its content is in a hidden file beside it.
        has_sound: Whether there is a sound track.

    Raises:
        OutputError: The file cannot be written.
    """

    def __init__(self, path: Path, *, has_sound: bool) -> None:
        import av

        check_target(path)
        self._path, self._temporary = path, temporary_of(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        create_new(self._temporary)
        self._output: Any = av.open(str(self._temporary), "w", format="mp4")
        self._video: Any = self._output.add_stream("libx264", options=dict(_X264))
        self._video.codec_context.time_base = _TICKS
        self._sound: Any = self._output.add_stream("aac", rate=SOUND_HZ, layout="mono") if has_sound else None
        self._titles: Any = self._output.add_stream("mov_text")
        self._titles.codec_context.subtitle_header = _HEADER
        self._titles.time_base = _US
        self._decoder: Any = av.CodecContext.create("mjpeg", "r")
        self._tick = -1
        self._samples = 0
        self._held = np.zeros(0, np.float32)
        self._title: tuple[str, int, int] | None = None
        self._size: tuple[int, int] | None = None

    @property
    def sound_samples(self) -> int:
        """How many samples of the sound were written."""
        return self._samples + len(self._held)

    def add_picture(self, picture: JpegFrame, time_us: int) -> None:
        """Write a picture; a damaged one, and one that is not after the last one, is skipped."""
        import av

        tick = int(time_us * _US / _TICKS)
        if tick <= self._tick:
            return
        try:
            frame = self._decoder.decode(av.Packet(picture.data))[0]
        except (av.FFmpegError, IndexError):
            return
        if self._size is None:
            self._size = frame.width // 2 * 2, frame.height // 2 * 2
            self._video.width, self._video.height = self._size
            self._video.pix_fmt = "yuv420p"
        frame = frame.reformat(*self._size, format="yuv420p", dst_color_range="MPEG")
        frame.pts, frame.time_base, self._tick = tick, _TICKS, tick
        self._write(self._video.encode(frame))

    def add_sound(self, samples: NDArray[np.float32]) -> None:
        """Write the next samples, float32 at `SOUND_HZ`."""
        if self._sound is None or self._size is None:
            return
        self._held = np.concatenate([self._held, samples])
        while len(self._held) >= _BLOCK:
            self._encode_sound(self._held[:_BLOCK])
            self._held = self._held[_BLOCK:]

    def add_title(self, text: str, start_us: int, end_us: int) -> None:
        """Write a subtitle. One that is not over yet ends where the next one starts."""
        if self._title is not None:
            self._write_title(min(self._title[2], start_us))
        last_us = 0 if self._title is None else self._title[1] + 1
        self._title = " ".join(text.split()), max(start_us, last_us), max(end_us, start_us + 1)

    def close(self) -> bool:
        """Finish the file and give it its name.

        Returns:
            Whether there is a file; there is none without a picture.

        Raises:
            OutputError: It cannot be written.
        """
        import av

        try:
            if self._size is not None:
                if self._title is not None:
                    self._write_title(self._title[2])
                if len(self._held):
                    self._encode_sound(self._held)
                for stream in (self._video, self._sound):
                    if stream is not None:
                        self._write(stream.encode(None))
            self._output.close()
            if self._size is not None:
                publish(self._temporary, self._path)
        except (OSError, av.FFmpegError) as error:
            raise cannot_write(self._path, error) from error
        finally:
            self._temporary.unlink(missing_ok=True)
        return self._size is not None

    def _encode_sound(self, samples: NDArray[np.float32]) -> None:
        import av

        frame = av.AudioFrame.from_ndarray(float32_to_int16(samples)[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = SOUND_HZ, self._samples, Fraction(1, SOUND_HZ)
        self._samples += len(samples)
        self._write(self._sound.encode(frame))

    def _write_title(self, end_us: int) -> None:
        from av.subtitles.subtitle import SubtitleSet

        assert self._title is not None
        text, start_us, _ = self._title
        # Braces and backslashes are markup of the encoder's input.
        plain = text.translate({ord("{"): "(", ord("}"): ")", ord("\\"): "/"})
        title = SubtitleSet.create(b"0,0,Default,,0,0,0,," + plain.encode(), 0, 1)
        packet = self._titles.codec_context.encode_subtitle(title)
        packet.stream, packet.time_base = self._titles, _US
        packet.pts = packet.dts = start_us
        packet.duration = max(1, end_us - start_us)
        self._write([packet])

    def _write(self, packets: "list[Packet]") -> None:
        import av

        try:
            self._output.mux(packets)
        except (OSError, av.FFmpegError) as error:
            raise cannot_write(self._path, error) from error
