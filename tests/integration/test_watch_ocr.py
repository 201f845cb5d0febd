"""The vision engine describe with the packaged models: a scoreboard is read, a moving picture says no score."""

import builtins

import numpy as np
import pytest

from sca.config import Settings, VisionConfig
from sca.errors import MissingToolError
from sca.watch.engines.base import TextPiece
from sca.watch.engines.describe.ocr import load_reader
from sca.watch.engines.registry import load_watch_engine
from tests.helpers.video import Score, label, scoreboard_pictures
from tests.helpers.watch_contract import WatchContract, frames_of, run

SIZE = (640, 360)


@pytest.fixture(scope="module")
def describe():
    return load_watch_engine("describe", Settings(vision=VisionConfig(home="Arsenal")))


class TestDescribeWithText(WatchContract):
    @pytest.fixture
    def engine(self, describe):
        return describe


def test_scores_are_announced_and_clocks_are_not(describe):
    """One team has its name from the settings, the other one from the profile."""
    scores = [Score(1.4, 1, 0), Score(2.4, 1, 1)]
    pictures = list(scoreboard_pictures(scores, seconds=3.2, fps=5, size=SIZE))
    session = describe.open()
    answers = run(session, frames_of(pictures), names={"CHE": "Chelsea"})
    pieces = [p for p in answers if isinstance(p, TextPiece)]
    said = [(p.text, p.about_us) for p in pieces if "Score" in p.text]
    assert said == [("Score: Arsenal one, Chelsea zero.", 1_400_000), ("Score: Arsenal one, Chelsea one.", 2_400_000)]
    assert not any("sixty" in p.text for p in pieces)


def test_slide_is_read(describe):
    empty, slide = np.full((360, 640, 3), 230, np.uint8), np.full((360, 640, 3), 230, np.uint8)
    tile = label("Annual report", 36)
    slide[150 : 150 + tile.shape[0], 120 : 120 + tile.shape[1]] = tile
    session = describe.open()
    texts = [p.text for p in run(session, frames_of([empty] * 3 + [slide] * 12)) if isinstance(p, TextPiece)]
    assert "On the screen: Annual report." in texts


def test_models_come_from_the_package(monkeypatch):
    def no_network(*args):
        raise AssertionError("a download was started")

    monkeypatch.setattr("rapidocr.utils.download_file.DownloadFile.run", no_network)
    reader = load_reader()
    assert reader.read(label("67:42", 32)).text == "67:42"


def test_missing_package_and_missing_model(monkeypatch, tmp_path):
    import rapidocr

    monkeypatch.setattr(rapidocr, "__file__", str(tmp_path / "__init__.py"))
    with pytest.raises(MissingToolError, match=r"does not contain PP-OCRv6_det_small\.onnx"):
        load_reader()
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "rapidocr":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    assert not load_watch_engine("describe", Settings(vision=VisionConfig(read_text="off"))).info.summary.startswith(
        "Scores"
    )
    monkeypatch.setattr("sca.watch.engines.describe.engine.find_spec", lambda name: None)
    assert not load_watch_engine("describe", Settings()).info.summary.startswith("Scores")
    with pytest.raises(MissingToolError, match="needs rapidocr") as caught:
        load_reader()
    assert "vision.read_text=auto" in caught.value.hint
