"""The engine csm: one voice per speaker number, clause by clause, with estimated word times.

The model reports no word times. They are estimated while the audio arrives (`estimated_words`) and marked as estimates.
What needs better ones aligns the audio afterwards with a recogniser.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from threading import Event
from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import override

from sca.audio.decode import read_audio
from sca.config import CsmConfig, Settings
from sca.errors import unknown_name
from sca.infer.speech.base import PieceVoice, SpeechChunk, SpeechEngine, SpeechVoice, UnitSound, VoiceInfo
from sca.infer.speech.csm.load import check, load_csm
from sca.infer.speech.csm.prompt import Segment
from sca.infer.speech.csm.speech import CsmSpeech
from sca.infer.speech.estimated_words import WordClock
from sca.units import SPOKEN_HZ

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

__all__ = ["CsmEngine", "load"]

_PAUSE_MS = 40
_SPEAKERS = tuple(str(number) for number in range(10))


def load(settings: Settings) -> CsmEngine:
    """Return the engine for the model of `settings.csm`, which is loaded when a voice is opened."""
    return CsmEngine(settings.csm)


class CsmEngine(SpeechEngine):
    """Voices of CSM. Voices that are open at the same time share the model and take turns.

    Args:
        csm: The settings.
    """

    name = "csm"
    default_voice = _SPEAKERS[0]

    def __init__(self, csm: CsmConfig) -> None:
        self._csm = csm
        self._speech: CsmSpeech | None = None

    @override
    def voices(self) -> Sequence[VoiceInfo]:
        return [VoiceInfo(number, "en", f"Speaker {number}") for number in _SPEAKERS]

    def check(self) -> None:
        """Return if torch and the model are here; raise `MissingToolError` otherwise."""
        check(self._csm)

    @override
    def open(self, voice: str | None = None) -> SpeechVoice:
        name = voice or _SPEAKERS[0]
        if name not in _SPEAKERS:
            raise unknown_name(f"the engine csm has no voice {name}", name, _SPEAKERS)
        csm, prompt = self._csm, []
        if csm.prompt_audio is not None and csm.prompt_text is not None:
            audio = read_audio(csm.prompt_audio, SPOKEN_HZ)
            prompt = [Segment(int(name), csm.prompt_text, audio)]
        if self._speech is None:
            self._speech = CsmSpeech(*load_csm(csm), cuda_graphs=csm.cuda_graphs)
        return CsmVoice(self._speech, csm, int(name), prompt)


class CsmVoice(PieceVoice):
    """A speaker of CSM. The model hears the recording of the settings and the latest clauses of the speech.

    Args:
        speech: The model.
        csm: The settings.
        speaker: The number of the speaker.
        prompt: What the model hears before every speech.
    """

    def __init__(self, speech: CsmSpeech, csm: CsmConfig, speaker: int, prompt: Sequence[Segment] = ()) -> None:
        super().__init__(speech.sample_rate, sentences=True)
        self._speech_model, self._csm, self._speaker, self._prompt = speech, csm, speaker, tuple(prompt)
        self._start()

    def _start(self) -> None:
        self._said: deque[Segment] = deque(maxlen=self._csm.context_units)
        self._clock = WordClock(self.sample_rate)

    @override
    def speak(self, text: str | Iterable[str]) -> Iterator[SpeechChunk]:
        self._start()  # a speech depends on its text alone
        return super().speak(text)

    @override
    def pieces(self, text: str, cancelled: Event) -> Generator[UnitSound, None, None]:
        words = self._clock.unit(text)
        if not words.has_words:
            yield UnitSound(np.zeros(0, np.float32), (), words.skipped)
            return
        parts: list[NDArray[np.float32]] = []
        with closing(self._stream(text)) as stream:
            for chunk in stream:
                parts.append(np.clip(chunk.numpy(), -1, 1))
                yield UnitSound(parts[-1], words.push(parts[-1]))
        self._said.append(Segment(self._speaker, text, np.concatenate(parts)))
        yield words.finish(self.sample_rate * _PAUSE_MS // 1000)

    def _stream(self, text: str) -> Generator[Tensor, None, None]:
        csm = self._csm
        return self._speech_model.generate_streaming(
            text,
            self._speaker,
            (*self._prompt, *self._said),
            csm.max_audio_length_ms,
            csm.temperature,
            csm.top_k,
            csm.chunk_frames,
            csm.first_chunk_frames,
            csm.seed,
        )
