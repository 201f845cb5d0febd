"""A turn of the user in a recognizer: audio in without waiting, the text out when it is there."""

import threading
import time
from collections.abc import Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from sca.errors import ScaError
from sca.infer.recognition.base import Recognizer

__all__ = ["Utterance", "text_of"]

_POLL_S = 0.05
_FINAL_S = 30.0


class Utterance:
    """A turn of the user, in a recognizer of its own.

    Attributes:
        partial: The text so far.
    """

    def __init__(self, recognizer: Recognizer) -> None:
        self._recognizer = recognizer
        self._recognizer.start_processing()
        self._text: str | None = None
        self._lock = threading.Lock()  # an answer that is cancelled and the next one may wait at the same time
        self.partial = ""

    def hear(self, samples: NDArray[np.float32]) -> None:
        """Add audio. Raises `ScaError` if the recognizer failed or is too slow."""
        if len(samples):
            self._recognizer.put_audio_chunk(samples)

    def finish(self) -> None:
        """Declare that the turn is over."""
        self._recognizer.finish()

    def new_partial(self) -> str | None:
        """Return the text so far if it has changed."""
        newest = self._recognizer.get_latest_partial()
        text = f"{newest.text} {newest.tail}".strip()
        if text == self.partial:
            return None
        self.partial = text
        return text

    @property
    def recognized_samples(self) -> int:
        """How much of the audio the newest result takes into account."""
        return self._recognizer.get_latest_partial().audio_samples

    def wait(self, cancelled: threading.Event) -> str:
        """Wait for the final text, unless `cancelled` is set; for another thread. Closes the recognizer."""
        deadline_s = time.monotonic() + _FINAL_S
        while not cancelled.is_set():
            with self._lock, suppress(TimeoutError):
                if self._text is None:
                    self._text = self._recognizer.get_final(_POLL_S).text.strip()
                    self.close()
                return self._text
            if time.monotonic() > deadline_s:
                raise ScaError(f"the recognizer does not finish within {_FINAL_S:g} s")
        return ""

    def poll(self) -> str | None:
        """Return the final text if it is there. Raises `ScaError` if the recognizer failed."""
        with self._lock:
            if self._text is None:
                try:
                    self._text = self._recognizer.get_final(0).text.strip()
                except TimeoutError:
                    return None
                self.close()
            return self._text

    def close(self) -> None:
        """Release the recognizer."""
        self._recognizer.close()


def text_of(utterances: Sequence[Utterance], cancelled: threading.Event) -> str:
    """Wait for the text of some utterances; see `Utterance.wait`."""
    texts = [utterance.wait(cancelled) for utterance in utterances]
    return " ".join(text for text in texts if text)
