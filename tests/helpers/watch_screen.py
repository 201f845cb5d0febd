"""What a person sees and hears of a page with commentary: screenshots of Chromium that OCR reads, and the sound that it plays."""

import base64
import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Error as PlaywrightError

from sca.watch.engines.describe.ocr import Box, TextReader

__all__ = ["TAP", "Screen", "Screenshot", "Utterance", "box_of", "burnt_in_s", "digits_of", "screenshots", "utterances"]

TAP = """(() => {
  window.heard = [];
  const code = `registerProcessor("tap", class extends AudioWorkletProcessor {
    process([[input]]) {
      const first = input ? input.findIndex((value) => Math.abs(value) > 0.01) : -1;
      if (first >= 0) this.port.postMessage(currentFrame + first);
      return true;
    }
  })`;
  const taps = new WeakMap(), connect = AudioNode.prototype.connect;
  const tap = async (context) => {
    await context.audioWorklet.addModule(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
    const node = new AudioWorkletNode(context, "tap");
    node.port.onmessage = ({ data }) => {
      const { contextTime, performanceTime } = context.getOutputTimestamp();
      window.heard.push((performance.timeOrigin + performanceTime) / 1000 + data / context.sampleRate - contextTime);
    };
    connect.call(node, context.destination); // without sound of its own, so that it is processed
    return node;
  };
  AudioNode.prototype.connect = function (target, ...rest) {
    const { context } = this;
    if (target === context.destination) {
      if (!taps.has(context)) taps.set(context, tap(context));
      taps.get(context).then((node) => connect.call(this, node));
    }
    return connect.call(this, target, ...rest);
  };
})()"""
"""A script for the page, before its own: `heard` has a time, in seconds since 1970, for each 128 samples that are not silent
and reach the loudspeaker. The page needs `bypass_csp`."""

_LEAST_GAP_S = 0.35
_TIME = re.compile(r"(\d{3})[.,](\d{2})")


@dataclass(frozen=True, slots=True)
class Utterance:
    """Sound between two silences, in seconds since 1970.

    Attributes:
        start_s: Its first sample that can be heard.
        end_s: Its last block of 128 samples.
    """

    start_s: float
    end_s: float


def utterances(heard: list[float]) -> list[Utterance]:
    """Return the utterances in the times of `TAP`."""
    cuts = [0, *(at + 1 for at, (a, b) in enumerate(pairwise(heard)) if b - a > _LEAST_GAP_S), len(heard)]
    return [Utterance(heard[a], heard[b - 1]) for a, b in pairwise(cuts) if b > a]


@dataclass(frozen=True, slots=True)
class Screenshot:
    """A picture of the page.

    Attributes:
        at_s: When Chromium showed it, in seconds since 1970.
        data: A JPEG file.
    """

    at_s: float
    data: bytes

    def pixels(self) -> NDArray[np.uint8]:
        """Return RGB, `(height, width, 3)`."""
        return np.asarray(Image.open(io.BytesIO(self.data)).convert("RGB"))


@contextmanager
def screenshots(page: Any, *, every: int = 1, quality: int = 80) -> Iterator[list[Screenshot]]:
    """Collect what Chromium shows while the context is open, with its own time stamps.

    Args:
        page: The page of playwright. Pictures arrive while it is waited for.
        every: One of so many pictures.
        quality: That of the JPEG files.
    """
    taken: list[Screenshot] = []
    session = page.context.new_cdp_session(page)

    def take(event: dict[str, Any]) -> None:
        with suppress(PlaywrightError):  # the page was closed
            session.send("Page.screencastFrameAck", {"sessionId": event["sessionId"]})
        taken.append(Screenshot(event["metadata"]["timestamp"], base64.b64decode(event["data"])))

    session.on("Page.screencastFrame", take)
    session.send("Page.startScreencast", {"format": "jpeg", "quality": quality, "everyNthFrame": every})
    try:
        yield taken
    finally:
        session.send("Page.stopScreencast")
        session.detach()


def box_of(page: Any, selector: str) -> Box:
    """Return where an element of the page is."""
    found = page.locator(selector).bounding_box()
    left, top = int(found["x"]), int(found["y"])
    return Box(left, top, int(left + found["width"]), int(top + found["height"]))


def digits_of(picture: Box) -> Box:
    """Return where the burnt-in time of the scoreboard is, in a picture at a place of the screen."""
    width, height = picture.right - picture.left, picture.bottom - picture.top
    return Box(
        picture.left + int(width * 0.7),
        picture.top + int(height * 0.84),
        picture.left + int(width * 0.97),
        picture.top + int(height * 0.96),
    )


def burnt_in_s(text: str) -> float | None:
    """Return the presentation time in a text that was read, such as `012.48`; None without one."""
    found = _TIME.search(text.replace(" ", "").replace("O", "0").replace("o", "0"))
    return None if found is None else int(found[1]) + int(found[2]) / 100


class Screen:
    """Reads screenshots. A place whose pixels are those of the screenshot before it is not read again.

    Args:
        reader: The OCR.
    """

    def __init__(self, reader: TextReader) -> None:
        self._reader = reader
        self._before: dict[Box, tuple[NDArray[np.uint8], str]] = {}

    def line(self, pixels: NDArray[np.uint8], box: Box) -> str:
        """Return the text of a place with one line."""
        return self._read(pixels, box, lambda part: self._reader.read(part).text)

    def lines(self, pixels: NDArray[np.uint8], box: Box) -> str:
        """Return the text of a place with any number of lines, joined by spaces."""

        def read(part: NDArray[np.uint8]) -> str:
            boxes = sorted(self._reader.find(part), key=lambda one: (one.top // 12, one.left))
            return " ".join(self._reader.read(_wider(one, part).crop(part)).text for one in boxes)

        return self._read(pixels, box, read)

    def _read(self, pixels: NDArray[np.uint8], box: Box, read: Callable[[NDArray[np.uint8]], str]) -> str:
        part = box.crop(pixels)
        before = self._before.get(box)
        if before is not None and np.abs(before[0].astype(int) - part).mean() < 0.5:
            return before[1]
        self._before[box] = (part, read(part))
        return self._before[box][1]


def _wider(box: Box, pixels: NDArray[np.uint8]) -> Box:
    height, width = pixels.shape[:2]
    return Box(max(0, box.left - 3), max(0, box.top - 3), min(width, box.right + 3), min(height, box.bottom + 3))
