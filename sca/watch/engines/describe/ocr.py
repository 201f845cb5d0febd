"""Reading text in pictures, with the models that the package rapidocr contains (PP-OCRv6): nothing is fetched."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from sca.distribution import install_extra
from sca.errors import MissingToolError

__all__ = ["Box", "Found", "TextReader", "load_reader"]

_DETECTION_SIDE = 640
"""Pictures are scaled to this longest side to find text: 0.3 s on one core; 960 takes 0.8 s, 480 misses small text."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle of a picture, in pixels. Right and bottom are not part of it."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def height(self) -> int:
        """Its height."""
        return self.bottom - self.top

    def overlap(self, other: "Box") -> float:
        """Return the area of both boxes divided by the area of either of them, 0 to 1."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        shared = max(0, width) * max(0, height)
        return shared / max(1, self._area + other._area - shared)

    def crop(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return its part of a picture."""
        return pixels[self.top : self.bottom, self.left : self.right]

    @property
    def _area(self) -> int:
        return (self.right - self.left) * self.height


@dataclass(frozen=True, slots=True)
class Found:
    """A text that was read.

    Attributes:
        text: The text; empty for none.
        confidence: 0 to 1.
    """

    text: str
    confidence: float


class TextReader(Protocol):
    """Finds and reads text."""

    def find(self, pixels: NDArray[np.uint8]) -> list[Box]:
        """Return where text is.

        Args:
            pixels: RGB, uint8 `(height, width, 3)`.
        """
        ...

    def read(self, pixels: NDArray[np.uint8]) -> Found:
        """Read a picture that contains one line of text.

        Args:
            pixels: RGB, uint8 `(height, width, 3)`.
        """
        ...


def load_reader() -> TextReader:
    """Load the models.

    Raises:
        MissingToolError: rapidocr is not installed, or does not contain its models.
    """
    try:
        import rapidocr
    except ImportError as error:
        raise MissingToolError(
            "reading text in pictures needs rapidocr",
            hint=f"{install_extra('watch')}; vision.read_text=auto describes the picture without it",
        ) from error
    folder = Path(rapidocr.__file__).parent / "models"
    models = {"Det": folder / "PP-OCRv6_det_small.onnx", "Rec": folder / "PP-OCRv6_rec_small.onnx"}
    for path in models.values():
        if not path.is_file():  # a path that is not given, rapidocr would fetch
            raise MissingToolError(
                f"the package rapidocr does not contain {path.name}",
                hint="install rapidocr==3.10.0, whose wheel has it",
            )
    return _RapidReader(models)


class _RapidReader(TextReader):
    def __init__(self, models: dict[str, Path]) -> None:
        from rapidocr import RapidOCR

        self._ocr = RapidOCR(
            params={
                "Global.log_level": "critical",
                "Global.use_cls": False,
                "Global.use_vertical_padding": False,
                "EngineConfig.onnxruntime.intra_op_num_threads": 1,
                "EngineConfig.onnxruntime.inter_op_num_threads": 1,
                "Det.limit_type": "max",
                "Det.limit_side_len": _DETECTION_SIDE,
                **{f"{part}.model_path": str(path) for part, path in models.items()},
            }
        )

    @override
    def find(self, pixels: NDArray[np.uint8]) -> list[Box]:
        height, width = pixels.shape[:2]
        result = self._ocr(_bgr(pixels), use_det=True, use_cls=False, use_rec=False)
        found = getattr(result, "boxes", None)
        boxes = []
        for corners in [] if found is None else np.asarray(found):
            left, top = np.floor(corners.min(axis=0)).astype(int)
            right, bottom = np.ceil(corners.max(axis=0)).astype(int)
            box = Box(max(0, int(left)), max(0, int(top)), min(width, int(right)), min(height, int(bottom)))
            if box.right - box.left >= 4 and box.height >= 4:
                boxes.append(box)
        return boxes

    @override
    def read(self, pixels: NDArray[np.uint8]) -> Found:
        result = self._ocr(_bgr(pixels), use_det=False, use_cls=False, use_rec=True)
        texts, scores = getattr(result, "txts", None), getattr(result, "scores", None)
        return Found(str(texts[0]).strip(), float(scores[0])) if texts and scores else Found("", 0.0)


def _bgr(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(pixels[:, :, ::-1])
