"""The vision engine describe: announced scores, false scores, latency, processor time.

    python scripts/bench/watch_describe.py [--minutes 10] [--crf 23] [--teams ARS CHE]

A scoreboard clip, 720p at 25 pictures a second in H.264, has 20 changes of the score at known times; the clock of the match
and the presentation time tick in the same picture. The engine receives the pictures that are due at its rate, and is
asked after each. Time is simulated, with the real cost of each picture: one that is not finished delays the next. An
announcement is right if it is the sentence of the next change that was not announced. Latency: from the first picture
with the score to the sentence, with the pictures that pass before it is believed. Then for `--minutes` each, a test
pattern (FFmpeg's testsrc2, 720p) and Big Buck Bunny, repeated; a sentence about a score there is false. One core.
"""

import argparse
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import av

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sca.config import Settings, VisionConfig
from sca.watch.engines.base import TextPiece, WatchRequest
from sca.watch.engines.describe.phrases import score_sentence
from sca.watch.engines.registry import load_watch_engine
from sca.watch.frames import VideoFrame
from tests.helpers.video import Score, make_video, scoreboard_pictures

BUNNY = Path(__file__).resolve().parents[3] / "shared/data/clips/big_buck_bunny_small.mp4"
HOME_GOALS = {1, 3, 4, 7, 9, 10, 13, 14, 18}
SECONDS = 132


def changes():
    """Return 20 scores, 4.4 s to 7.6 s apart."""
    home = away = 0
    at_s, scores = 6.0, []
    for number in range(20):
        home, away = (home + 1, away) if number in HOME_GOALS else (home, away + 1)
        scores.append(Score(round(at_s, 2), home, away))
        at_s += (4.4, 5.76, 7.6, 6.28)[number % 4]
    return scores


def sampled(path, fps, *, repeat_until_s=None, options=None, container=None):
    """Yield the pictures of a video that are due at a rate, with the times of the video."""
    index, base_us, due_us = 0, 0, 0
    step_us = round(1e6 / fps)
    while True:
        last_us = 0
        with av.open(str(path), format=container, options=options or {}) as source:
            stream = source.streams.video[0]
            for picture in source.decode(stream):
                last_us = base_us + round(picture.time * 1e6)
                if last_us >= due_us:
                    yield VideoFrame(index, last_us, last_us, picture.to_ndarray(format="rgb24"))
                    index, due_us = index + 1, due_us + step_us
                if repeat_until_s is not None and last_us > repeat_until_s * 1e6:
                    return
        if repeat_until_s is None:
            return
        base_us = last_us + 40_000


def watch(engine, frames):
    """Return the sentences with the times when they were known and what they are about, and the cost."""
    session, said, free_s, cpu_s, longest_s, end_s = engine.open(), [], 0.0, 0.0, 0.0, 0.0
    for cycle, frame in enumerate(frames):
        began = time.process_time()
        session.see(frame)
        pieces = list(session.answer(WatchRequest(cycle, (frame,), density="normal")))
        cost_s = time.process_time() - began
        cpu_s, longest_s, end_s = cpu_s + cost_s, max(longest_s, cost_s), frame.time_us / 1e6
        free_s = max(free_s, frame.time_us / 1e6) + cost_s
        said += [(p.text.strip(), free_s, (p.about_us or 0) / 1e6) for p in pieces if isinstance(p, TextPiece)]
    session.close()
    return said, {"video_s": round(end_s, 1), "cores": round(cpu_s / end_s, 3), "longest_s": round(longest_s, 3)}


def judge(said, scores, names):
    """Return precision, recall, latency and the error of the time that the sentences are about."""
    announced = [one for one in said if one[0].startswith("Score")]
    right, waits, errors = 0, [], []
    rest = list(scores)
    for text, at_s, about_s in announced:
        found = next((s for s in rest if score_sentence(s.home, s.away, names) == text and s.at_s <= at_s), None)
        if found is not None:
            rest = rest[rest.index(found) + 1 :]
            right += 1
            waits.append(at_s - found.at_s)
            errors.append(about_s - found.at_s)
    return {
        "changes": len(scores),
        "announced": len(announced),
        "precision": round(right / max(1, len(announced)), 3),
        "recall": round(right / len(scores), 3),
        "latency_p50_s": round(statistics.median(waits), 3) if waits else None,
        "latency_p95_s": round(sorted(waits)[int(0.95 * (len(waits) - 1) + 0.5)], 3) if waits else None,
        "about_late_p95_s": round(sorted(errors)[int(0.95 * (len(errors) - 1) + 0.5)], 3) if errors else None,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--crf", type=int, default=23)
    parser.add_argument("--teams", nargs=2, default=["ARS", "CHE"])
    options = parser.parse_args()
    settings = Settings(vision=VisionConfig(home="Home", away="Away"))
    engine = load_watch_engine("describe", settings)
    names, fps = (settings.vision.home, settings.vision.away), engine.info.sample_fps
    scores = changes()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "match.mp4"
        pictures = scoreboard_pictures(scores, seconds=SECONDS, teams=tuple(options.teams))
        make_video(path, pictures, fps=25, options={"crf": str(options.crf)})
        said, cost = watch(engine, sampled(path, fps))
    result = {"load": os.getloadavg()[0], "fps": fps, "scoreboard": judge(said, scores, names) | cost}
    for line in said:
        print(f"{line[1]:8.2f} {line[2]:8.2f}  {line[0]}")
    until_s = options.minutes * 60
    others = {"test pattern": ("testsrc2=size=1280x720:rate=10", "lavfi"), "big buck bunny": (BUNNY, None)}
    for name, (source, container) in others.items():
        if container is None and not source.exists():
            continue
        frames = sampled(source, fps, repeat_until_s=until_s, container=container)
        said, cost = watch(engine, itertools.takewhile(lambda one: one.time_us <= until_s * 1e6, frames))
        for line in said[:20]:
            print(f"{line[1]:8.2f} {line[2]:8.2f}  {line[0]}")
        result[name] = {"false_scores": sum(s[0].startswith("Score") for s in said), "sentences": len(said)} | cost
    print(json.dumps(result))


if __name__ == "__main__":
    main()
