"""The conversations of a calibration: scripts, voices and noises, decided by the seed alone."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from sca.config import CalibrateConfig, SynthConfig
from sca.errors import MissingToolError
from sca.infer.speech.registry import engine_state
from sca.synth.conversation import SyntheticConversation, make_conversation
from sca.synth.script import Script, shipped_names, shipped_script
from sca.synth.timing import TIMINGS
from sca.units import HEARD_HZ

__all__ = ["NOISES", "Piece", "pieces", "voices_here"]

Noise = Literal["clean", "pink", "telephone"]
NOISES: tuple[Noise, ...] = ("clean", "pink", "telephone")
"""Clean speech, speech in pink noise, and the 8 kHz µ-law of telephones."""
_WORDS_A_S = 2.5
"""Words per second of conversation, to estimate its length before it is spoken."""
_VOICES = ("espeak:en-us+m3", "piper:joe", "espeak:en-gb-x-rp+f2", "kokoro:af_heart")
"""The voices of `auto`, if their engines are ready."""
_OTHERS = ("espeak:en-us+f3", "espeak:en-gb-scotland+m5")
"""What takes the place of voices whose engines are not ready."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One conversation before it is spoken.

    Attributes:
        number: Its number, from 0.
        script: The script.
        noise: What is done to the sound.
        settings: The settings of the conversation.
    """

    number: int
    script: Script
    noise: Noise
    settings: SynthConfig

    @property
    def name(self) -> str:
        """The name in the ledger."""
        return f"{self.number:04d}-{self.script.name}-{self.noise}"

    @property
    def estimate_s(self) -> float:
        """About how long it is."""
        return sum(len(turn.text.split()) for turn in self.script.turns) / _WORDS_A_S

    def spoken(self) -> SyntheticConversation:
        """Speak it at 16 kHz."""
        return make_conversation(self.script, self.settings, TIMINGS[self.settings.timing], self.number)


def voices_here(voices: str) -> str:
    """Return the voices to use.

    Args:
        voices: A list of voices, or `auto` for four of those whose engines are ready.

    Raises:
        MissingToolError: No engine is ready.
    """
    if voices != "auto":
        return voices
    engines = {name.partition(":")[0] for name in _VOICES}
    states = {name: engine_state(name) for name in engines}
    ready = [name for name in (*_VOICES, *_OTHERS) if states[name.partition(":")[0]].problem is None]
    if len(ready) < 2:
        state = states["espeak"]
        raise MissingToolError(f"there is no voice to measure with: {state.problem}", hint=state.hint)
    return ",".join(ready[: len(_VOICES)])


def pieces(settings: CalibrateConfig) -> Iterator[Piece]:
    """Yield conversations until they are long enough: every script in turn, and every noise in turn.

    Raises:
        MissingToolError: No voice is here.
    """
    voices = voices_here(settings.voices)
    names = shipped_names()
    number, length_s = 0, 0.0
    while length_s < settings.minutes * 60:
        script = shipped_script(names[(settings.seed + number) % len(names)])
        noise = NOISES[number % len(NOISES)]
        piece = Piece(number, script, noise, _sound(settings, voices, noise))
        yield piece
        number, length_s = number + 1, length_s + piece.estimate_s


def _sound(settings: CalibrateConfig, voices: str, noise: Noise) -> SynthConfig:
    return SynthConfig(
        voices=voices,
        seed=settings.seed,
        rate_hz=HEARD_HZ,
        snr_db=settings.snr_db if noise == "pink" else None,
        codec="mulaw" if noise == "telephone" else "none",
    )
