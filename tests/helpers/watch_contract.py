"""The contract of vision engines, as tests. To test an engine, inherit from `WatchContract`:

    class TestMine(WatchContract):
        @pytest.fixture
        def engine(self):
            return load_watch_engine("mine", settings)

`pictures` is a video of which the engine says something in one of a few cycles. A class may override it.
"""

import threading
from typing import ClassVar

import numpy as np
import pytest

from sca.watch.engines.base import AudioPiece, Question, TextPiece, WatchEngine, WatchEngineInfo, WatchRequest
from sca.watch.frames import VideoFrame


def frames_of(pictures, *, fps=5.0, first=0):
    """Return pictures, uint8 `(height, width, 3)`, as frames."""
    step_us = round(1_000_000 / fps)
    return [VideoFrame(first + i, (first + i) * step_us, (first + i) * step_us, p) for i, p in enumerate(pictures)]


def cut_video(count=8, size=(90, 160)):
    """Return a dark noisy scene and then a bright one."""
    rng = np.random.default_rng(0)
    scenes = [rng.integers(low, low + 60, (*size, 3), dtype=np.uint8) for low in (60, 190)]
    return [scenes[i >= count // 2] for i in range(count)]


def run(session, frames, **fields):
    """Return the pieces of one cycle per frame; frames are also given to `see`, as engines with `every_frame` need.
    The fields are those of the request.
    """
    pieces = []
    for cycle, frame in enumerate(frames):
        session.see(frame)
        pieces += session.answer(WatchRequest(cycle, (frame,), **fields))
    return pieces


class WatchContract:
    """See the module. `fields` are those of all requests, such as `max_tokens` for slow engines."""

    fields: ClassVar[dict] = {}

    @pytest.fixture
    def pictures(self):
        return cut_video()

    @pytest.fixture
    def session(self, engine):
        session = engine.open()
        yield session
        session.close()

    def test_declares_its_properties(self, engine):
        assert isinstance(engine, WatchEngine)
        assert isinstance(engine.info, WatchEngineInfo)
        assert engine.info.name
        assert engine.info.summary
        assert "\n" not in engine.info.summary
        assert engine.info.sample_fps is None or engine.info.sample_fps > 0

    def test_pieces_are_valid_and_about_seen_pictures(self, engine, session, pictures):
        frames = frames_of(pictures)
        pieces = run(session, frames, instruction="Comment on the match.", **self.fields)
        assert "".join(p.text for p in pieces if isinstance(p, TextPiece)).strip()
        times = {frame.time_us for frame in frames} | {None}
        for piece in pieces:
            if isinstance(piece, TextPiece):
                assert piece.text
                assert piece.about_us in times
            elif isinstance(piece, AudioPiece):
                assert engine.info.speaks
                assert piece.samples.dtype == np.float32
                assert piece.samples.ndim == 1
            else:
                assert isinstance(piece, Question)
                assert engine.info.asks
                assert piece.text.strip()

    def test_pictures_are_not_modified(self, session, pictures):
        before = [p.copy() for p in pictures]
        for p in pictures:
            p.setflags(write=False)
        run(session, frames_of(pictures), **self.fields)
        for one, other in zip(pictures, before, strict=True):
            np.testing.assert_array_equal(one, other)

    def test_any_size_of_picture(self, session):
        for first, size in enumerate([(1, 1), (2, 300), (333, 35)]):
            run(session, frames_of([np.full((*size, 3), 90, np.uint8)], first=first), **self.fields)

    def test_sessions_share_no_state(self, engine, pictures):
        frames = frames_of(pictures)
        one, other = engine.open(), engine.open()
        alone = run(one, frames, **self.fields)
        assert [type(p) for p in run(other, frames, **self.fields)] == [type(p) for p in alone]
        one.close()
        run(other, frames_of(pictures[:1], first=100), **self.fields)
        other.close()

    def test_cancel_ends_the_answer(self, session, pictures):
        frames = frames_of(pictures)
        session.cancel()  # nothing is in progress
        for cycle, frame in enumerate(frames):
            session.see(frame)
            answer = session.answer(WatchRequest(cycle, (frame,), **self.fields))
            if next(answer, None) is not None:
                break
        other = threading.Thread(target=session.cancel)
        other.start()
        other.join()
        assert len([p for p in answer if isinstance(p, TextPiece)]) <= 1
        later = frames_of(pictures, first=100)
        assert run(session, later, **self.fields)  # the next cycle is not cancelled

    def test_closed_iterator_ends_the_answer(self, session, pictures):
        frames = frames_of(pictures)
        answer = session.answer(WatchRequest(0, tuple(frames), **self.fields))
        next(answer, None)
        answer.close()
        assert run(session, frames_of(pictures, first=100), **self.fields)

    def test_close_twice_and_not_after(self, session, pictures):
        session.close()
        session.close()
        with pytest.raises(RuntimeError, match="closed"):
            list(session.answer(WatchRequest(0, tuple(frames_of(pictures[:1])))))
