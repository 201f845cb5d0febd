"""The voices of a conversation: names such as `espeak:en-us+m3`, and turns spoken with exact word times."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from random import Random
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from sca.audio.resample import resample
from sca.errors import InputError, UsageError
from sca.infer.speech.base import RepeatableEngine, SpeechEngine, SpeechVoice, WordTime
from sca.infer.speech.registry import load_speech_engine, split_voice
from sca.synth.schedule import Sounding
from sca.synth.script import ScriptTurn

__all__ = ["SpokenTurn", "VoiceName", "Voices", "assign_voices", "parse_voices"]

_TAIL_S = 0.06
"""What is kept of the sound after the last word."""
_EDGE_S = 0.005
"""The fades at both ends of a turn."""
_GAINS = {"soft": 10 ** (-8 / 20), "normal": 1.0, "loud": 10 ** (4 / 20)}


@dataclass(frozen=True, slots=True)
class VoiceName:
    """The name of a voice.

    Attributes:
        engine: The engine.
        voice: The voice of the engine; None for its default.
        persona: The speaker of the script who has this voice; None for any.
    """

    engine: str
    voice: str | None = None
    persona: str | None = None

    def __str__(self) -> str:
        return self.engine if self.voice is None else f"{self.engine}:{self.voice}"


@dataclass(frozen=True, slots=True)
class SpokenTurn(Sounding):
    """A turn with its sound.

    Attributes:
        sound: Float32 mono `(n,)`, from the start of the first word to a little after the last one.
        texts: The words as they are written.
        skipped: Words that the voice cannot speak.
    """

    sound: NDArray[np.float32]
    texts: tuple[str, ...]
    skipped: tuple[str, ...]


def parse_voices(text: str) -> tuple[VoiceName, ...]:
    """Read a list of voices: `ENGINE:VOICE,…`, each with `NAME=` before it or not.

    Raises:
        UsageError: There are fewer than two, or a name of the catalogue is not a voice.
    """
    found = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        persona, mark, name = part.rpartition("=")
        engine, voice = split_voice(name)
        found.append(VoiceName(engine or "", voice, persona.strip() if mark else None))
    if len(found) < 2:
        raise UsageError(
            f"a conversation needs two voices, and {text.strip() or 'nothing'} has {len(found)}",
            hint="for example espeak:en-us+m3,espeak:en-gb+f2",
        )
    return tuple(found)


def assign_voices(
    voices: Sequence[VoiceName], speakers: tuple[str, str], random: Random
) -> tuple[VoiceName, VoiceName]:
    """Choose the voices of two speakers: those of their names, and of the others at random if there are more than two.

    Raises:
        UsageError: A named speaker is not in the script, or a speaker has no voice.
    """
    named = {voice.persona: voice for voice in voices if voice.persona is not None}
    if unknown := sorted(set(named) - set(speakers)):
        raise UsageError(f"--voices names {unknown[0]}, and the script has {speakers[0]} and {speakers[1]}")
    others = [voice for voice in voices if voice.persona is None]
    open_places = [speaker for speaker in speakers if speaker not in named]
    if len(others) < len(open_places):
        raise UsageError(f"{open_places[len(others)]} has no voice", hint="--voices gives one for each speaker")
    if len(others) > len(open_places):
        others = random.sample(others, len(open_places))
    chosen = named | dict(zip(open_places, others, strict=False))
    return chosen[speakers[0]], chosen[speakers[1]]


class Voices:
    """Open voices, for the length of one conversation.

    The history of an engine is cleared, so the speech of a conversation does not depend on earlier ones.

    Args:
        rate_hz: The rate of the speech.
    """

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._stack = ExitStack()
        self._engines: dict[str, SpeechEngine] = {}
        self._open: dict[tuple[str, str | None], SpeechVoice] = {}

    def __enter__(self) -> "Voices":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def open(self, name: VoiceName, language: str | None = None) -> SpeechVoice:
        """Return an open voice.

        Args:
            name: The voice.
            language: The language to speak, if it is not that of the voice.

        Raises:
            UsageError: The engine or the voice does not exist.
            InputError: The voice does not speak the language.
            MissingToolError: The engine needs something that is not installed.
        """
        engine = self._engine(name.engine)
        voice = _in_language(engine, _known(engine, name.voice), language)
        key = name.engine, voice
        if key not in self._open:
            self._open[key] = _cached(name.engine, voice) if self._is_stateless(name.engine) else engine.open(voice)
        return self._open[key]

    def speak(self, name: VoiceName, turn: ScriptTurn) -> SpokenTurn:
        """Speak a turn.

        Raises:
            InputError: The voice cannot speak any of its words.
        """
        voice = self.open(name, turn.language)
        chunks = list(voice.speak(turn.text))
        words = [word for chunk in chunks for word in chunk.words]
        skipped = tuple(word for chunk in chunks for word in chunk.skipped)
        if not words:
            raise InputError(f"{_where(turn)}the voice {name} cannot speak {turn.text[:40]!r}")
        sound = np.concatenate([chunk.samples for chunk in chunks])
        samples, spans = self._trimmed(sound, words, voice.sample_rate)
        texts = tuple(word.text for word in words)
        return SpokenTurn(turn, spans, samples * np.float32(_GAINS[turn.style]), texts, skipped)

    def _trimmed(
        self, sound: NDArray[np.float32], words: Sequence[WordTime], from_hz: int
    ) -> tuple[NDArray[np.float32], tuple[tuple[int, int], ...]]:
        """Return the sound from its first word on at the rate of the conversation, and the spans of the words."""
        first = words[0].start_sample
        last = min(max(word.end_sample for word in words) + int(_TAIL_S * from_hz), len(sound))
        samples = resample(np.ascontiguousarray(sound[first:last]), from_hz, self._rate_hz).copy()
        edge = min(int(_EDGE_S * self._rate_hz), len(samples) // 2)
        samples[len(samples) - edge :] *= np.linspace(1, 0, edge, dtype=np.float32)
        spans: list[tuple[int, int]] = []
        for word in words:
            start, end = (
                (2 * (at - first) * self._rate_hz + from_hz) // (2 * from_hz)
                for at in (word.start_sample, word.end_sample)
            )
            start = max(start, spans[-1][1] if spans else 0)
            spans.append((start, min(max(end, start + 1), len(samples))))
        return samples, tuple(spans)

    def _engine(self, name: str) -> SpeechEngine:
        if name not in self._engines:
            engine = load_speech_engine(name)
            if isinstance(engine, RepeatableEngine):
                engine = self._stack.enter_context(engine.repeatable())
            self._engines[name] = engine
        return self._engines[name]

    def _is_stateless(self, engine: str) -> bool:
        return not isinstance(self._engine(engine), RepeatableEngine)


_MODELS: dict[tuple[str, str | None], SpeechVoice] = {}


def _cached(engine: str, voice: str | None) -> SpeechVoice:
    """Open a voice once per process: loading a model takes longer than speaking a turn."""
    key = engine, voice
    if key not in _MODELS:
        _MODELS[key] = load_speech_engine(engine).open(voice)
    return _MODELS[key]


def _known(engine: SpeechEngine, voice: str | None) -> str | None:
    """Return the full name of a voice: `joe` is `piper-joe` of the engine piper."""
    if voice is None:
        return None
    names = {info.name for info in engine.voices()}
    return f"{engine.name}-{voice}" if voice not in names and f"{engine.name}-{voice}" in names else voice


def _in_language(engine: SpeechEngine, voice: str | None, language: str | None) -> str | None:
    """Return the voice for a language: the same variant of another voice of espeak, or the same voice."""
    if language is None:
        return voice
    languages = {info.name: info.language for info in engine.voices()}
    base, plus, variant = (voice or "").partition("+")
    own = languages.get(base, base) or next(iter(languages.values()), "")
    if own.casefold().startswith(language.casefold()):
        return voice
    if language in languages:
        return f"{language}{plus}{variant}"
    raise InputError(
        f"the voice {engine.name}:{voice or 'default'} does not speak {language}",
        hint="sca say --list lists the voices and their languages",
    )


def _where(turn: ScriptTurn) -> str:
    return f"line {turn.line}: " if turn.line else ""
