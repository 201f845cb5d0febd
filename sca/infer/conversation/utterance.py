"""A turn of the user in a recognizer: audio in without waiting, the text out when it is there."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from sca.errors import ScaError
from sca.infer.recognition.base import Recognizer

__all__ = ["Utterance", "text_of"]

_POLL_S = 0.05
_PAUSE_POLL_S = 0.02
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
        self._heard_samples = 0
        self._is_finished = False
        self.partial = ""

    def hear(self, samples: NDArray[np.float32]) -> None:
        """Add audio. Raises `ScaError` if the recognizer failed or is too slow."""
        if len(samples):
            self._recognizer.put_audio_chunk(samples)
            self._heard_samples += len(samples)

    def finish(self) -> None:
        """Declare that the turn is over."""
        with self._lock:
            self._recognizer.finish()
            self._is_finished = True

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

    def wait_for_pause(self, cancelled: threading.Event, found: Callable[[str], None]) -> str:
        """Wait until the speech pauses and all of it is recognized, and return its text; for another thread.

        Args:
            cancelled: Ends the wait; the text is then empty.
            found: Called with the text if it comes before `finish`; not after `finish` has returned, when the final
                text is waited for.
        """
        while not cancelled.is_set():
            with self._lock:
                if self._is_finished:
                    break
                text = self._settled_text(self._heard_samples)
                if text:
                    found(text)
                    return text
            cancelled.wait(_PAUSE_POLL_S)
        return self.wait(cancelled)

    def has_settled(self, text: str) -> bool:
        """Return whether the user has said nothing after a text of `wait_for_pause`, as far as is known."""
        return self._text == text or self._settled_text(self._heard_samples) == text

    def settle(self, text: str, silence_samples: int) -> bool:
        """Make a text of `wait_for_pause` the final text, if it has all of the speech.

        Args:
            text: The text.
            silence_samples: How much of the audio is silence after the speech.

        Returns:
            Whether it is the final text. The recognizer is then released.
        """
        with self._lock:
            if self._text is None and self._settled_text(silence_samples) == text:
                self._text = text
                self.close()
            return self._text == text

    def _settled_text(self, most_unread: int) -> str | None:
        """Return all text so far; None if the speech has not paused, or more audio than that is not recognized yet."""
        try:
            newest = self._recognizer.get_latest_partial()
        except ScaError:  # it is raised where the final text is waited for
            return None
        if not (newest.is_settled or newest.is_final) or self._heard_samples - newest.audio_samples > most_unread:
            return None
        return f"{newest.text} {newest.tail}".strip()

    def close(self) -> None:
        """Release the recognizer."""
        self._recognizer.close()


def text_of(utterances: Sequence[Utterance], cancelled: threading.Event) -> str:
    """Wait for the text of some utterances; see `Utterance.wait`."""
    texts = [utterance.wait(cancelled) for utterance in utterances]
    return " ".join(text for text in texts if text)
