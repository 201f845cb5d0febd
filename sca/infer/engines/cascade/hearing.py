"""The user's side of the cascade: when a recognizer is opened, what it hears, and the text of a turn.

A recognizer gets the audio of a turn while the user speaks, so that little is left to do when the turn ends.
"""

import threading
import time
from collections.abc import Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from sca.errors import ScaError
from sca.infer.engines.turn_taking import TurnUpdate
from sca.infer.recognition.base import Recognizer, RecognizerEngine
from sca.units import HEARD_HZ

__all__ = ["Hearing", "Utterance", "text_of"]

_LEAD_SAMPLES = HEARD_HZ * 3 // 10
"""Audio before the speech that the VAD detects, because it is late at soft onsets."""
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

    def close(self) -> None:
        """Release the recognizer."""
        self._recognizer.close()


def text_of(utterances: Sequence[Utterance], cancelled: threading.Event) -> str:
    """Wait for the text of some utterances; see `Utterance.wait`."""
    texts = [utterance.wait(cancelled) for utterance in utterances]
    return " ".join(text for text in texts if text)


class Hearing:
    """Opens an utterance when the user begins to speak, and closes it when the turn is over.

    Args:
        engine: Opens the recognizers.
    """

    def __init__(self, engine: RecognizerEngine) -> None:
        self._engine = engine
        self._lead = np.zeros(0, np.float32)
        self._open: Utterance | None = None
        self._skips_turn = False

    def push(self, samples: NDArray[np.float32], update: TurnUpdate) -> Utterance | None:
        """Add a chunk.

        Args:
            samples: Float32 `(n,)` at 16 kHz.
            update: What the segmenter found in it.

        Returns:
            The utterance that is over; None if no turn ends.

        Raises:
            ScaError: The recognizer failed.
        """
        if self._skips_turn:
            self._skips_turn = update.in_turn
            return None
        if self._open is None and (update.in_turn or update.turn is not None):
            self._open = Utterance(self._engine.open())
            self._open.hear(self._lead)
        over, self._lead = None, samples[-_LEAD_SAMPLES:].copy()
        if self._open is not None:
            self._open.hear(samples)
            if update.turn is not None:
                over, self._open = self._open, None
                over.finish()
            elif not update.in_turn:  # too short for a turn
                self.reset()
        return over

    def partial(self) -> str | None:
        """Return the text of the turn in progress if it has changed. Raises `ScaError` if the recognizer failed."""
        return None if self._open is None else self._open.new_partial()

    def skip_turn(self) -> None:
        """Discard the turn in progress and the rest of it, because the recognizer failed."""
        self.reset()
        self._skips_turn = True

    def reset(self) -> None:
        """Discard the turn in progress."""
        if self._open is not None:
            self._open.close()
            self._open = None
