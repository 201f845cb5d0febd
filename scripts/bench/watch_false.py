"""Scores that the session announces where there are none; `scripts/bench/watch.py --false` runs it.

Each video is repeated through capture, policy and engine. The clock goes on when the engine has seen the pictures that it
was given, so nothing is left out, and a minute of video takes a few seconds.
"""

import os
import sys
import threading
import time
from pathlib import Path

import av

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sca.config import load_settings
from sca.watch.engines.registry import load_watch_engine
from sca.watch.events import CycleEnd
from sca.watch.running.opening import OpenOptions, open_watch
from scripts.bench.watch_describe import BUNNY
from tests.helpers.video import make_video


class Counted:
    """An engine that can be waited for: `wait` returns when it has seen the pictures that the session was given."""

    def __init__(self, engine):
        self._engine, self._changed = engine, threading.Condition()
        self.info, self.close, self.seen, self.count = engine.info, engine.close, -1, 0

    def open(self):
        session = self._engine.open()
        see = session.see

        def counted(frame):
            wants = see(frame)
            with self._changed:
                self.seen, self.count = max(self.seen, frame.index), self.count + 1
                self._changed.notify_all()
            return wants

        session.see = counted
        return session

    def wait(self, index):
        with self._changed:
            self._changed.wait_for(lambda: self.seen >= index, 60)


def false_scores(path, minutes):
    """Return how many sentences and false scores there are: the whole session, with a clock that waits for the engine."""
    settings = load_settings(overrides={"watch.loop": "true", "watch.profile": "sports"}, env={})
    now, given, cpu_s, over = [0], [-1], time.process_time(), threading.Event()
    engine = Counted(load_watch_engine("describe", settings))
    options = OpenOptions(muted=True, displayed=False)
    run = open_watch(str(path), settings, options, clock=lambda: now[0], engine=engine)
    add, listener = run.commentary.add_frame, run.commentary.listen(100_000)

    def add_frame(frame):
        given[0] = frame.index
        add(frame)

    def sleep(seconds):
        engine.wait(given[0])
        now[0] += round(seconds * 1e6)
        if now[0] >= minutes * 60e6:
            over.set()
        return over.is_set()

    run.commentary.add_frame, run.capture.sleep = add_frame, sleep
    try:
        run.start()
        over.wait()
    finally:
        run.close()
    texts = [event.text for event in listener if isinstance(event, CycleEnd) and event.outcome == "spoke"]
    print(*texts[:20], sep="\n")
    found = {"minutes": round(now[0] / 60e6, 1), "pictures": engine.count, "sentences": len(texts)}
    false = sum("score" in text.casefold() for text in texts)
    return found | {"false_scores": false, "cores": round((time.process_time() - cpu_s) / now[0] * 1e6, 3)}


def judge_false(folder, minutes):
    """Return the numbers for both videos.

    Args:
        folder: Where the test pattern is written.
        minutes: The length of each, in time of the video.
    """
    pattern = folder / "pattern.mp4"
    with av.open("testsrc2=size=1280x720:rate=25:duration=60", format="lavfi") as source:
        make_video(pattern, (frame.to_ndarray(format="rgb24") for frame in source.decode(video=0)), fps=25)
    result = {"load": os.getloadavg()[0], "test pattern": false_scores(pattern, minutes)}
    if BUNNY.exists():
        result["big buck bunny"] = false_scores(BUNNY, minutes)
    return result
