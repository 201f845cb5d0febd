"""`sca watch` measured from outside: what is on the screen, what is heard, and when.

    python scripts/bench/watch.py [--clip match.mp4] [--voice espeak]
    python scripts/bench/watch.py --false [--minutes 10]

Chromium opens the page of `sca watch CLIP --serve` with the engine describe. The clip is the scoreboard of
`watch_describe.py`: 720p at 25 pictures a second in H.264, 20 changes of the score at known times, and the presentation
time of each picture burnt in. Screenshots of Chromium (its screencast, five a second, with its time stamps) are read by OCR
when the clip is over: the burnt-in time and the commentary. Sound is noted in the audio graph of the page. No number comes
from the events of the session, except the times that the sentences are about (`about_s` of `/api/stream`) and the numbers of
`--report`, which are printed for comparison.

- Live: the newest picture that `/api/frame` has, read by OCR, tells the time of the video that is captured at a moment.
- event → audio: from the capture of the first picture with a score to the first sound of its sentence.
- offset: first sound minus the moment when the picture that the sentence is about is on the screen.
- event offset: the same for the first picture with the score.
- Difference: this offset minus the one in the events of the session, from which `--report` is made. Its latency (`end_to_end_s`)
  ends when the first sound is made; what is heard comes later, with its picture.
- Pictures per second: those with different burnt-in times in 8 s of all screenshots, later, while nothing else is measured.
- Cores: the processor time of `sca watch` and its child processes over the time of the clip, with one page open.

With `--false`: `--minutes` of a test pattern (FFmpeg's testsrc2, 720p) and of Big Buck Bunny, repeated, through capture,
policy and engine as fast as the engine sees the pictures (the clock waits for it); a sentence about a score is false.
"""

import argparse
import contextlib
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

import httpx
import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sca.watch.engines.describe.ocr import Box, load_reader
from sca.watch.engines.describe.phrases import score_sentence
from scripts.bench.watch_describe import SECONDS, changes
from scripts.bench.watch_false import judge_false
from tests.helpers.browser import FLAGS, find_chromium, until
from tests.helpers.video import make_video, scoreboard_pictures
from tests.helpers.watch_screen import (
    TAP,
    Screen,
    Screenshot,
    box_of,
    burnt_in_s,
    digits_of,
    screenshots,
    utterances,
)

VIEW = {"width": 1280, "height": 1000}
WORDS = re.compile(r"[a-z]+")
PICTURE, CAPTION = "#picture", "#caption"


def percentiles(values):
    """Return the median and the 95th percentile."""
    if not values:
        return {"p50": None, "p95": None, "n": 0}
    p50, p95 = np.percentile(values, [50, 95])
    return {"p50": round(float(p50), 3), "p95": round(float(p95), 3), "n": len(values)}


# The server and its events


class Server:
    """`sca watch CLIP --serve`, its processor time, and the events of `/api/stream`."""

    def __init__(self, clip, options):
        command = [sys.executable, "-m", "sca", "watch", str(clip), "--serve", "--port", "0", "--voice", options.voice]
        command += [part for one in options.set for part in ("--set", one)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.lines = []
        for line in self.process.stderr:
            self.lines.append(line)
            if found := re.search(r"listening on (http\S+)", line):
                self.url = found[1].rstrip("/")
                break
        else:
            raise SystemExit("".join(self.lines))
        self.events = []
        for target in (self._read_log, self._follow):
            threading.Thread(target=target, daemon=True).start()

    def _read_log(self):
        self.lines += self.process.stderr

    def _follow(self):
        with (
            contextlib.suppress(httpx.HTTPError),
            httpx.stream("GET", f"{self.url}/api/stream", timeout=None) as stream,
        ):
            for line in stream.iter_lines():
                if line.startswith("data: "):
                    self.events.append({"type": "status"} | json.loads(line.removeprefix("data: ")))

    def cpu_s(self):
        """Return the processor time so far, with that of child processes."""
        found = 0.0
        parent = psutil.Process(self.process.pid)
        for process in (parent, *parent.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                found += times.user + times.system
        return found

    def metric(self, name):
        """Return a number of `/metrics`."""
        text = httpx.get(f"{self.url}/metrics").text
        return float(re.search(rf"^{name} (\S+)$", text, re.MULTILINE)[1])

    def close(self):
        self.process.terminate()
        self.process.wait(30)


# What Chromium shows


@dataclass
class Seen:
    """What was recorded while the clip was played; times are seconds since 1970."""

    shots: list[Screenshot]
    heard: list[float]
    places: dict[str, Box]
    live: list[tuple[float, bytes]]
    display_bytes: float
    cores: float
    fps_shots: list[Screenshot]
    events: list[dict[str, object]]


def record(server, seconds):
    """Open the page, start the clip, and return what is seen and heard until it ends."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=find_chromium(), args=FLAGS, timeout=120_000)
        page = browser.new_context(viewport=VIEW, bypass_csp=True, color_scheme="light").new_page()
        page.add_init_script(TAP)
        page.goto(server.url)
        page.locator("#mute").click()
        live, most = [], 0.0
        httpx.post(f"{server.url}/api/start", json={}, timeout=60)
        events = len(server.events)
        until(page, "sca.picture.timeS > 0")
        begun_s, cpu_s = time.monotonic(), server.cpu_s()
        with screenshots(page, every=5) as shots:
            while (passed_s := time.monotonic() - begun_s) < seconds:
                page.wait_for_timeout(2000)
                live.append(newest(server))
                most = max(most, server.metric("sca_watch_display_bytes"))
        cores = (server.cpu_s() - cpu_s) / passed_s
        places = {"picture": box_of(page, PICTURE), "caption": box_of(page, CAPTION)}
        heard = page.evaluate("window.heard")
        said = server.events[events:]
        httpx.post(f"{server.url}/api/start", json={}, timeout=60)
        page.wait_for_timeout(4000)
        with screenshots(page) as fps_shots:
            page.wait_for_timeout(8000)
        browser.close()
    return Seen(shots, heard, places, live, most, cores, fps_shots, said)


def newest(server):
    """Return the newest picture that was captured, and when it was fetched."""
    before_s = time.time()
    response = httpx.get(f"{server.url}/api/frame", params={"time_s": 1e6})
    return (before_s + time.time()) / 2, response.content


def read_screen(seen, reader):
    """Return the times of the video that were shown, and when sentences appeared: OCR of the screenshots."""
    screen = Screen(reader)
    shown, captions = [], []
    for shot in seen.shots:
        pixels = shot.pixels()
        time_s = burnt_in_s(screen.line(pixels, digits_of(seen.places["picture"])))
        if time_s is not None:
            shown.append((shot.at_s, time_s))
        text = screen.lines(pixels, seen.places["caption"])
        if not captions or captions[-1][1] != text:
            captions.append((shot.at_s, text))
    return without_errors(shown), captions


def without_errors(shown):
    """Leave out readings that do not fit to those around them."""
    lags = np.array([at_s - time_s for at_s, time_s in shown])
    near = [float(np.median(lags[max(0, n - 4) : n + 5])) for n in range(len(lags))]
    return [one for one, lag, middle in zip(shown, lags, near, strict=True) if abs(lag - middle) < 0.5]


def shown_at(shown, time_s):
    """Return when a time of the video was on the screen; between two screenshots, time goes on evenly."""
    walls, times = np.array(shown).T
    return float(np.interp(time_s, np.maximum.accumulate(times), walls))


def live_lags(seen, reader):
    """Return (when, by how much the time of the video is behind the clock), of pictures that were fetched when they were new."""
    found = []
    for at_s, data in seen.live:
        pixels = Screenshot(at_s, data).pixels()
        whole = Box(0, 0, pixels.shape[1], pixels.shape[0])
        time_s = burnt_in_s(reader.read(digits_of(whole).crop(pixels)).text)
        if time_s is not None and time_s < SECONDS - 0.5:
            found.append((at_s, time_s))
    return [(at_s, at_s - time_s) for at_s, time_s in without_errors(found)]


# Judgement


def announced(captions, scores, names):
    """Return (score, time) for the sentences that appeared and are right, and how many sentences about scores appeared."""
    rest, right, count, last = list(scores), [], 0, ""
    for at_s, text in captions:
        words = " ".join(WORDS.findall(text.casefold().partition("score")[2]))
        if not words or same(words, last):
            continue
        last, count = words, count + 1
        said = (one for one in rest if same(words, sentence_words(one, names)))
        if (found := next(said, None)) is not None:
            rest = rest[rest.index(found) + 1 :]
            right.append((found, at_s))
    return right, count


def sentence_words(score, names):
    """Return the words of a sentence, as OCR reads them."""
    return " ".join(WORDS.findall(score_sentence(score.home, score.away, names).casefold())[1:])


def same(one, other):
    """Return whether two texts are equal but for spaces and letters that OCR confuses."""
    one, other = (text.replace(" ", "").replace("l", "i") for text in (one, other))
    return SequenceMatcher(None, one, other).ratio() > 0.97


def measure(seen, scores, names):
    """Return the numbers."""
    reader = load_reader()
    shown, captions = read_screen(seen, reader)
    right, count = announced(captions, scores, names)
    live, spoken = np.array(live_lags(seen, reader)).T, utterances(seen.heard)
    waits, texts, offsets, event_offsets, differences = [], [], [], [], []
    for score, at_s in right:
        sound = min(spoken, key=lambda one: abs(one.start_s - at_s), default=None)
        if sound is None or abs(sound.start_s - at_s) > 1.5:
            continue
        waits.append(sound.start_s - np.interp(sound.start_s, *live) - score.at_s)
        texts.append(at_s - sound.start_s)
        event_offsets.append(sound.start_s - shown_at(shown, score.at_s))
        about_s, reported_s = told(seen.events, score_sentence(score.home, score.away, names))
        if about_s is not None:
            offsets.append((score.at_s, sound.start_s - shown_at(shown, about_s)))
        if about_s is not None and reported_s is not None:
            differences.append(offsets[-1][1] - reported_s)
    late = [offset for _, offset in offsets]
    drift = np.polyfit(*np.array(offsets).T, 1)[0] * 3600 if len(offsets) > 2 else None
    gaps = [b.start_s - a.end_s for a, b in itertools.pairwise(spoken)]
    return {
        "changes": len(scores),
        "announced": count,
        "precision": round(len(right) / max(1, count), 3),
        "recall": round(len(right) / len(scores), 3),
        "event_to_audio_s": percentiles(waits),
        "offset_s": percentiles(late),
        "offset_abs_s": percentiles([abs(one) for one in late]),
        "event_offset_s": percentiles(event_offsets),
        "text_minus_audio_s": percentiles(texts),
        "drift_s_per_hour": None if drift is None else round(float(drift), 2),
        "utterances": len(spoken),
        "least_gap_s": round(min(gaps), 3) if gaps else None,
        "delay_s": percentiles([wall - time_s - np.interp(wall, *live) for wall, time_s in shown]),
        "live_lag_grew_s": round(float(live[1][-1] - live[1][0]), 2),
        "screenshots": len(seen.shots),
        "fps": pictures_per_second(seen),
        "cores": round(seen.cores, 3),
        "display_mb": round(seen.display_bytes / 1e6, 1),
        "reported": reported(seen.events) | {"offset_difference_s": percentiles(differences)},
    }


def told(events, sentence):
    """Return what the events have for a sentence: the time that it is about, and the offset of its cycle."""
    text = next((one for one in events if one["type"] == "text" and sentence in one["text"]), None)
    if text is None:
        return None, None
    ends = (one for one in events if one["type"] == "cycle_end" and one["cycle"] == text["cycle"])
    return text["about_s"], next((end["offset_s"] for end in ends), None)


def reported(events):
    """Return the numbers of `--report`."""
    ends = [one for one in events if one["type"] == "cycle_end"]
    pairs = {name: [end[name] for end in ends if end[name] is not None] for name in ("end_to_end_s", "offset_s")}
    share = round(sum(end["outcome"] == "skipped" for end in ends) / max(1, len(ends)), 3)
    return {name: percentiles(values) for name, values in pairs.items()} | {"skipped_share": share}


def pictures_per_second(seen):
    """Return how many different pictures Chromium showed in a second."""
    tiles = [(s.at_s, digits_of(seen.places["picture"]).crop(s.pixels()).astype(int)) for s in seen.fps_shots]
    new = [at for (_, a), (at, b) in itertools.pairwise(tiles) if np.abs(a - b).mean() > 0.5]
    return round((len(new) - 1) / (new[-1] - new[0]), 1) if len(new) > 1 else 0.0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--clip", type=Path, help="the scoreboard, if it was made before; it is written if it does not exist"
    )
    parser.add_argument("--voice", default="espeak")
    parser.add_argument("--set", action="append", default=[], metavar="SETTING=VALUE")
    parser.add_argument("--false", action="store_true", dest="only_false")
    parser.add_argument("--minutes", type=float, default=10.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = judge_false(Path(folder), options.minutes) if options.only_false else watched(Path(folder), options)
    print(json.dumps(result))


def watched(folder, options):
    """Return the numbers of the scoreboard."""
    clip = options.clip or folder / "match.mp4"
    scores = changes()
    if not clip.exists():
        make_video(clip, scoreboard_pictures(scores, seconds=SECONDS), fps=25)
    server, load = Server(clip, options), [os.getloadavg()[0]]
    try:
        seen = record(server, SECONDS + 3)
    finally:
        server.close()
    load.append(os.getloadavg()[0])
    return {"load": load, **measure(seen, scores, ("Home", "Away"))}


if __name__ == "__main__":
    main()
