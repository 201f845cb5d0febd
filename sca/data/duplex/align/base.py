"""The interface of models that find the words of a known text in audio."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sca.data.duplex.model.spans import Span

__all__ = ["WordAligner"]


class WordAligner(Protocol):
    """A model that aligns a text with its audio."""

    def align(self, text: str, audio: NDArray[np.float32]) -> list[Span | None] | None:
        """Find the words of a text.

        Args:
            text: The text of an utterance, cleaned.
            audio: Its audio at 16 kHz, float32 `(n,)`.

        Returns:
            For each word its samples in `audio`, None for a word that was not found; None instead of the list if no
            word was.
        """
        ...
