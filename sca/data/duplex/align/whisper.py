"""Word times from Whisper (faster-whisper): the words that it recognises are matched with the known text."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sca.data.corpora.base import TimedWord
from sca.data.duplex.align.match import match_recognized
from sca.data.duplex.model.spans import Span
from sca.errors import UpstreamError
from sca.models import resolve
from sca.models.whisper import hub_revision
from sca.textutil import first_line
from sca.units import HEARD_HZ, seconds_to_samples

__all__ = ["WhisperAligner"]


class WhisperAligner:
    """Aligns with a Whisper model.

    Args:
        model: A size, a hub id, a folder, or a model of `sca.models`.
        cache_dir: The folder for downloaded models.
        language: The language code; None detects it.
        suppressed: Token ids to suppress; (-1,) are those of symbols that are not speech.

    Raises:
        MissingToolError: The model is one of `sca.models` and not on this machine.
        UpstreamError: The model cannot be loaded.
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
        folder = resolve(model) or Path(model).expanduser()
        try:
            self._model = WhisperModel(
                str(folder) if folder.is_dir() else model,
                device="cpu",
                download_root=cache_dir,
                revision=hub_revision(model, cache_dir),
            )
        except Exception as error:  # ctranslate2, the hub's client and tokenizers raise their own classes
            raise UpstreamError(
                f"the Whisper model {model} cannot be loaded: {first_line(error)}",
                hint="give a size (small), a hub id or a folder with --align-model",
            ) from error

    def align(self, text: str, audio: NDArray[np.float32]) -> list[Span | None] | None:
        """Find the words of a text, see `WordAligner.align`."""
        # Without a prompt and earlier text, so that the result does not depend on the order of utterances.
        segments, _ = self._model.transcribe(
            audio,
            language=self._language,
            word_timestamps=True,
            condition_on_previous_text=False,
            temperature=0.0,
            suppress_tokens=self._suppressed,
        )
        words = [
            TimedWord(
                word.word.strip(),
                seconds_to_samples(word.start, HEARD_HZ),
                seconds_to_samples(word.end, HEARD_HZ),
                "whisper",
            )
            for segment in segments
            for word in segment.words or ()
            if word.word.strip()
        ]
        spans = match_recognized(text, words)
        return spans if any(span is not None for span in spans) else None
