"""The vision engine describe: cuts, motion and brightness."""

import numpy as np
import pytest

from sca.config import Settings, VisionConfig
from sca.errors import UsageError
from sca.watch.engines.base import TextPiece, WatchRequest
from sca.watch.engines.describe.picture import cells_of
from sca.watch.engines.describe.remarks import Remark, Remarks
from sca.watch.engines.registry import load_watch_engine, watch_engine_names
from tests.helpers.watch_contract import WatchContract, cut_video, frames_of, run

PICTURE_ONLY = Settings(vision=VisionConfig(read_text="off"))


def said(pictures, **fields):
    session = load_watch_engine("describe", PICTURE_ONLY).open()
    return [(p.text, p.about_us) for p in run(session, frames_of(pictures), **fields) if isinstance(p, TextPiece)]


def scene(seed=0, low=60, size=(90, 160)):
    return np.random.default_rng(seed).integers(low, low + 60, (*size, 3), dtype=np.uint8)


def with_square(left, size=16):
    picture = scene()
    picture[40 : 40 + size, left : left + size] = 250
    return picture


class TestDescribe(WatchContract):
    @pytest.fixture
    def engine(self):
        return load_watch_engine("describe", PICTURE_ONLY)


def test_names_of_engines():
    assert "describe" in watch_engine_names()
    with pytest.raises(UsageError, match="vision engine descrbe does not exist"):
        load_watch_engine("descrbe", PICTURE_ONLY)


def test_cells_are_the_luma_of_any_size():
    for size in [(1, 1), (7, 500), (720, 1280)]:
        cells = cells_of(np.full((*size, 3), 255, np.uint8))
        assert cells.shape == (36, 64)
        np.testing.assert_allclose(cells, 1.0, atol=1e-5)


def test_cut_is_about_the_first_picture_of_the_scene():
    assert said(cut_video(8)) == [("The scene changes.", 800_000)]


def test_noise_says_nothing():
    rng = np.random.default_rng(1)
    base = scene().astype(int)
    assert said([np.clip(base + rng.normal(0, 6, base.shape), 0, 255).astype(np.uint8) for _ in range(30)]) == []


def test_motion_has_a_place_and_an_end():
    moving = [with_square(4 + 3 * i) for i in range(10)]
    texts = [text for text, _ in said(moving + [moving[-1]] * 60)]
    assert texts[0] == "Something moves on the left."
    assert texts[1:] in ([], ["The picture is still."])


def test_dark_and_bright_again():
    dark = [scene(low=0) // 8] * 5
    texts = [text for text, _ in said([scene()] * 3 + dark + [scene()] * 5)]
    assert "The picture is dark." in texts
    assert texts[-1] == "The picture is bright again."


def test_density_limits_the_sentences():
    session = load_watch_engine("describe", PICTURE_ONLY).open()
    frames = frames_of([scene()] * 3 + [with_square(100 - 3 * i) for i in range(5)] + cut_video(2))
    for frame in frames:
        session.see(frame)
    texts = [p.text for p in session.answer(WatchRequest(0, (frames[-1],), density="minimal"))]
    assert texts == ["The scene changes."]
    assert list(session.answer(WatchRequest(1, (frames[-1],)))) == []


def test_important_remarks_come_first_and_old_ones_expire():
    remarks = Remarks()
    remarks.add(
        [Remark("motion", "m", 0), Remark("score", "1-0", 1), Remark("score", "1-1", 2), Remark("text", "a", 3)]
    )
    remarks.add([Remark("text", "b", 4), Remark("text", "a", 5)])
    assert [one.text for one in remarks.take(9)] == ["1-1", "b", "a", "m"]
    remarks.add([Remark("motion", "m", 0), Remark("text", "t", 0)])
    remarks.expire(5_000_000)
    assert [one.text for one in remarks.take(9)] == ["t"]
    assert not remarks
