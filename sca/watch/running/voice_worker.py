"""The thread of the voice: text of one cycle after another in, its speech out while more text arrives."""

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sca.audio.pcm import pcm16_samples
from sca.errors import ScaError
from sca.infer.conversation.answer import VoiceLine
from sca.infer.speech.base import SpeechVoice
from sca.textutil import first_line
from sca.units import SPOKEN_HZ
from sca.watch.running.spoken_text import SpokenText

__all__ = ["VoiceWorker"]


@dataclass(slots=True)
class _Utterance:
    cycle: int
    pieces: "queue.SimpleQueue[str | None]" = field(default_factory=queue.SimpleQueue)
    cancelled: threading.Event = field(default_factory=threading.Event)


class VoiceWorker:
    """A voice in a thread.

    Args:
        open_voice: Opens the voice, in the background.
        spoken: How text is spoken.
        on_sound: Called with the cycle, samples (float32 mono) and their rate.
        on_said: Called when the speech of a cycle is complete, or failed.
    """

    def __init__(
        self,
        open_voice: Callable[[], SpeechVoice],
        spoken: SpokenText,
        on_sound: Callable[[int, NDArray[np.float32], int], None],
        on_said: Callable[[int, ScaError | None], None],
    ) -> None:
        self._line = VoiceLine(open_voice)
        self._spoken, self._on_sound, self._on_said = spoken, on_sound, on_said
        self._waiting: queue.SimpleQueue[_Utterance | None] = queue.SimpleQueue()
        self._newest: _Utterance | None = None
        threading.Thread(target=self._run, name="sca watch voice", daemon=True).start()

    def set_spoken(self, spoken: SpokenText) -> None:
        """Speak the texts from the next utterance on by other rules."""
        self._spoken = spoken

    def say(self, cycle: int, text: str) -> None:
        """Speak the next characters of a cycle."""
        if self._newest is None or self._newest.cycle != cycle:
            self._newest = _Utterance(cycle)
            self._waiting.put(self._newest)
        self._newest.pieces.put(text)

    def end(self, cycle: int) -> None:
        """The text of a cycle is complete."""
        if self._newest is not None and self._newest.cycle == cycle:
            self._newest.pieces.put(None)

    def cancel(self, cycle: int) -> None:
        """Make no more speech of a cycle."""
        newest = self._newest
        if newest is not None and newest.cycle == cycle:
            newest.cancelled.set()
            newest.pieces.put(None)
            self._line.stop(newest.cancelled)

    def close(self) -> None:
        """End the speech, the thread and the voice."""
        if self._newest is not None:
            self.cancel(self._newest.cycle)
        self._waiting.put(None)
        self._line.close()

    def _run(self) -> None:
        while (utterance := self._waiting.get()) is not None:
            error: ScaError | None = None
            try:
                self._speak(utterance)
            except ScaError as failure:
                error = failure
            except Exception as failure:  # noqa: BLE001 - a voice of another package; it ends this cycle only
                error = ScaError(f"the voice failed: {type(failure).__name__}: {first_line(failure)}")
            self._on_said(utterance.cycle, error)

    def _speak(self, utterance: _Utterance) -> None:
        pieces = self._spoken.pieces(iter(utterance.pieces.get, None))
        for sound in self._line.speak(pieces, utterance.cancelled):
            if sound.pcm:
                self._on_sound(utterance.cycle, pcm16_samples(sound.pcm), SPOKEN_HZ)
