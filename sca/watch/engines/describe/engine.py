"""The engine `describe`: reports changes of the picture and the text in it, without a language model."""

from collections.abc import Iterator
from importlib.util import find_spec

from typing_extensions import override

from sca.config import Settings, VisionConfig
from sca.watch.engines.base import Density, Piece, TextPiece, WatchEngine, WatchEngineInfo, WatchRequest, WatchSession
from sca.watch.engines.describe.ocr import TextReader, load_reader
from sca.watch.engines.describe.picture import PictureWatch
from sca.watch.engines.describe.remarks import Remarks
from sca.watch.engines.describe.written import WrittenWatch
from sca.watch.frames import VideoFrame

__all__ = ["DescribeEngine", "load"]

_SAMPLE_FPS = 5.0
"""Two pictures of a new text are seen 0.2 s to 0.4 s after it appears."""

_USUAL_DELAY_S = 1.0
"""95 of 100 new scores are known, and their first sound is made, within this time."""

_LONGEST_SIDE = 1920
"""Text on the screen can be read at this size; larger pictures only cost more."""

_SENTENCES: dict[Density, int] = {"minimal": 1, "brief": 2, "normal": 3}


def load(settings: Settings) -> "DescribeEngine":
    """Return the engine.

    Args:
        settings: The section `vision`.

    Raises:
        MissingToolError: `vision.read_text` is on, and the extra watch is not installed.
    """
    wanted = settings.vision.read_text
    reads = find_spec("rapidocr") is not None if wanted == "auto" else wanted == "on"
    return DescribeEngine(load_reader() if reads else None, settings.vision)


class DescribeEngine(WatchEngine):
    """See the module.

    Args:
        reader: Finds and reads text; None leaves text out.
        vision: The names of the teams, and the most points at once.
    """

    def __init__(self, reader: TextReader | None, vision: VisionConfig) -> None:
        self._reader, self._vision = reader, vision

    @property
    @override
    def info(self) -> WatchEngineInfo:
        return WatchEngineInfo(
            name="describe",
            summary="Cuts, motion and brightness"
            if self._reader is None
            else "Scores and other text, cuts, motion, brightness",
            follows_instruction=False,
            every_frame=True,
            sample_fps=_SAMPLE_FPS,
            usual_delay_s=_USUAL_DELAY_S,
            max_side=_LONGEST_SIDE,
        )

    @override
    def open(self) -> WatchSession:
        return _DescribeSession(None if self._reader is None else WrittenWatch(self._reader, self._vision))


class _DescribeSession(WatchSession):
    def __init__(self, written: WrittenWatch | None) -> None:
        self._written = written
        self._picture, self._remarks = PictureWatch(), Remarks()
        self._seen = -1
        self._is_cancelled = self._is_closed = False

    @override
    def see(self, frame: VideoFrame) -> bool:
        self._require_open()
        if frame.index > self._seen:
            self._seen = frame.index
            self._remarks.add(self._picture.see(frame))
            if self._written is not None:
                self._remarks.add(self._written.see(frame, had_cut=self._picture.had_cut))
            self._remarks.expire(frame.time_us)
        return bool(self._remarks)

    @override
    def answer(self, request: WatchRequest) -> Iterator[Piece]:
        self._require_open()
        self._is_cancelled = False
        if self._written is not None:
            self._written.names = request.names
        for frame in request.frames:
            self.see(frame)
        for number, remark in enumerate(self._remarks.take(_SENTENCES[request.density])):
            if self._is_cancelled:
                return
            yield TextPiece(f" {remark.text}" if number else remark.text, remark.about_us)

    @override
    def cancel(self) -> None:
        self._is_cancelled = True

    @override
    def close(self) -> None:
        self._is_closed = True

    def _require_open(self) -> None:
        if self._is_closed:
            raise RuntimeError("the session is closed")
