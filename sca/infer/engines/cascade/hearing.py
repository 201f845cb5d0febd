"""The user's side of the cascade: when a recognizer is opened, and what it hears.

A recognizer gets the audio of a turn while the user speaks, so that little is left to do when the turn ends.
"""

import numpy as np
from numpy.typing import NDArray

from sca.infer.conversation.utterance import Utterance
from sca.infer.engines.turn_taking import TurnUpdate
from sca.infer.recognition.base import RecognizerEngine
from sca.units import HEARD_HZ

__all__ = ["Hearing"]

_LEAD_SAMPLES = HEARD_HZ * 3 // 10
"""Audio before the speech that the VAD detects, because it is late at soft onsets."""


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
        if self._open is None and (update.in_turn or update.is_over):
            self._open = Utterance(self._engine.open())
            self._open.hear(self._lead)
        over, self._lead = None, samples[-_LEAD_SAMPLES:].copy()
        if self._open is not None:
            self._open.hear(samples)
            if update.is_over:
                over, self._open = self._open, None
                over.finish()
            elif not update.in_turn:  # too short for a turn
                self.reset()
        return over

    @property
    def open(self) -> Utterance | None:
        """The turn in progress, or speech that may become one."""
        return self._open

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
