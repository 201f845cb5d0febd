"""Word times from Whisper (faster-whisper): what it hears in an utterance, word by word."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sca.data.corpora.base import TimedWord
from sca.data.duplex.align.match import match_heard
from sca.data.duplex.model.spans import Span
from sca.errors import UpstreamError
from sca.textutil import first_line
from sca.units import HEARD_HZ

__all__ = ["WhisperWords"]


class WhisperWords:
    """A model; `spans` finds the words of a text in a piece of audio. Raises `UpstreamError` where it cannot be loaded.

    suppressed: token ids it may not say; (-1,) are those of symbols that are not speech.
    """

    def __init__(
        self,
        model: str,
        cache_dir: str | None = None,
        language: str | None = None,
        *,
        suppressed: Sequence[int] = (-1,),
    ) -> None:
        from faster_whisper import WhisperModel

        self._language = language
        self._suppressed = list(suppressed)
        try:
            self._model: Any = WhisperModel(
                str(Path(model).expanduser()) if Path(model).expanduser().is_dir() else model,
                device="cpu",
                download_root=cache_dir,
            )
        except Exception as error:  # ctranslate2, the hub's client and tokenizers each raise classes of their own
            raise UpstreamError(
                f"the Whisper model {model} cannot be loaded: {first_line(error)}",
                hint="give a size (small), a hub id or a folder with --align-model",
            ) from error

    def spans(self, text: str, heard: NDArray[np.float32]) -> list[Span | None] | None:
        """For each word of `text` its samples in `heard` (16 kHz), None for words that were not recognised.

        None in place of the list when none was.
        """
        # No text is carried over or prompted: an utterance stands for itself, so the order of sessions changes nothing.
        segments, _ = self._model.transcribe(
            heard,
            language=self._language,
            word_timestamps=True,
            condition_on_previous_text=False,
            temperature=0.0,
            suppress_tokens=self._suppressed,
        )
        words = [
            TimedWord(word.word.strip(), round(word.start * HEARD_HZ), round(word.end * HEARD_HZ))
            for segment in segments
            for word in segment.words or ()
            if word.word.strip()
        ]
        found = match_heard(text, words)
        return found if any(span is not None for span in found) else None
