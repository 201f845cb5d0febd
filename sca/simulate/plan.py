"""What the simulated user does in one talk: a plan of acts, drawn from the seed, with the speech of a synthetic voice."""

from dataclasses import dataclass
from hashlib import sha256
from random import Random
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from sca.config import SynthConfig
from sca.errors import UsageError, unknown_name
from sca.synth.conversation import BACKCHANNELS
from sca.synth.script import ScriptTurn
from sca.synth.sound import pink_noise
from sca.synth.voices import VoiceName, Voices, parse_voices
from sca.units import HEARD_HZ, seconds_to_samples

__all__ = [
    "SCENARIOS",
    "Act",
    "AwaitQuiet",
    "AwaitSpeech",
    "Pause",
    "Plan",
    "Say",
    "SayKind",
    "Scenario",
    "make_plan",
    "parse_scenarios",
]

Scenario = Literal["answer", "interrupt", "backchannel", "hold", "noise"]
SCENARIOS: tuple[Scenario, ...] = get_args(Scenario)
SayKind = Literal["question", "interruption", "backchannel", "noise"]

_PATIENCE_S = 6.0
"""How long the user waits for an answer."""
_QUIET_S = 1.0
"""A talk ends when the engine has been silent for this time."""
_LONGEST_ANSWER_S = 10.0
"""Or when the user has listened for this time."""
_LEAD_IN_S = (0.4, 0.8)
_REACTION_S = (0.8, 1.6)
"""The engine has spoken for this time when the user interrupts it or nods."""
_HOLD_S = (0.4, 1.2)
_NOISE_S = (2.0, 3.0)
_NOISE_DB = (-40.0, -30.0)
_AFTER_NOISE_S = 2.0
_PEAK, _BACKCHANNEL_PEAK = 0.6, 0.3

_QUESTIONS = (
    "I missed the train this morning, so can you tell me when the next one leaves for the city?",
    "My sister is coming over on Sunday and I would like to cook something with mushrooms, any ideas?",
    "We are planning a week in the mountains in October, what should we pack for the cold nights?",
    "The printer in the office shows a red light since Monday, do you know how to repair it?",
    "I would like to read more this year, which three books would you give to a good friend?",
    "Our neighbour plays the drums until midnight, how would you talk to him about it?",
)
_INTERRUPTIONS = (
    "Wait, sorry, I meant something else. What about the day after tomorrow in the afternoon?",
    "Stop, one moment please. Could you explain the first part again in simple terms?",
    "No, hold on. Before you go on, how much money would all of that cost me?",
    "Sorry to interrupt you there, but what if it rains for the whole weekend?",
)
_HOLDS = (
    ("I would like to book a table for four people", "on Friday evening, somewhere near the river please."),
    ("So the thing I wanted to ask you about is", "whether the museum is open on public holidays."),
    ("Please remind me tomorrow at nine to call", "the dentist and the garage about the car."),
    ("When we moved to the new house last summer", "we found an old map, do you know what it is worth?"),
)


@dataclass(frozen=True, slots=True)
class Say:
    """The user makes a sound.

    Attributes:
        kind: What it is.
        samples: Float32 `(n,)` at 16 kHz.
        words: Each word with its first sample and the one after its last; none in noise.
    """

    kind: SayKind
    samples: NDArray[np.float32]
    words: tuple[tuple[str, int, int], ...] = ()

    @property
    def end(self) -> int:
        """The sample after the last word, or after the sound."""
        return self.words[-1][2] if self.words else len(self.samples)


@dataclass(frozen=True, slots=True)
class Pause:
    """The user is silent for `samples` at 16 kHz."""

    samples: int


@dataclass(frozen=True, slots=True)
class AwaitSpeech:
    """The user waits until the engine speaks. If it does not, the talk ends.

    Attributes:
        speaking: How long it must have been speaking, in samples at 16 kHz.
        patience: How long the user waits, in samples at 16 kHz, besides `speaking`.
        fresh: Whether its speech must have begun after the user began to speak the last time.
    """

    speaking: int = 0
    patience: int = seconds_to_samples(_PATIENCE_S, HEARD_HZ)
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class AwaitQuiet:
    """The user listens until the engine has been silent for `quiet` samples at 16 kHz, at most for `longest`."""

    quiet: int = seconds_to_samples(_QUIET_S, HEARD_HZ)
    longest: int = seconds_to_samples(_LONGEST_ANSWER_S, HEARD_HZ)


Act = Say | Pause | AwaitSpeech | AwaitQuiet


@dataclass(frozen=True, slots=True)
class Plan:
    """One talk before it is held.

    Attributes:
        scenario: The scenario.
        number: The number of the talk in its scenario, from 1.
        voice: The voice of the user.
        acts: What the user does.
        noise_seed: The seed of the noise floor.
    """

    scenario: Scenario
    number: int
    voice: VoiceName
    acts: tuple[Act, ...]
    noise_seed: int

    @property
    def name(self) -> str:
        """The name of the talk and of its files."""
        return f"{self.scenario}-{self.number:03d}"


def parse_scenarios(text: str) -> tuple[Scenario, ...]:
    """Read a list of scenarios, or `all`.

    Raises:
        UsageError: One of them does not exist, or there is none.
    """
    wanted = [part for part in (part.strip() for part in text.split(",")) if part]
    known: dict[str, Scenario] = {name: name for name in SCENARIOS}
    unknown = [name for name in wanted if name != "all" and name not in known]
    if unknown:
        raise unknown_name(f"the scenario {unknown[0]} does not exist", unknown[0], [*SCENARIOS, "all"])
    if not wanted:
        raise UsageError("--scenarios is empty", hint=f"the scenarios are {', '.join(SCENARIOS)}, and all")
    return tuple(name for name in SCENARIOS if "all" in wanted or name in wanted)


def make_plan(scenario: Scenario, number: int, settings: SynthConfig) -> Plan:
    """Draw a talk. The same scenario, number, voices and seed give the same samples.

    Args:
        scenario: The scenario.
        number: The number of the talk, from 1.
        settings: The voices, of which each talk has one, and the seed.

    Raises:
        UsageError: A voice does not exist.
        InputError: The voice cannot speak a text.
        MissingToolError: The engine of the voice needs something that is not installed.
    """
    identity = f"{settings.seed}/{scenario}/{number}"
    random = Random(identity)  # noqa: S311 - not a secret
    voice = random.choice(parse_voices(settings.voices))
    with Voices(HEARD_HZ) as voices:
        acts = _Draw(random, voices, voice).acts(scenario)
    return Plan(scenario, number, voice, acts, int.from_bytes(sha256(identity.encode()).digest()[:3], "big"))


class _Draw:
    def __init__(self, random: Random, voices: Voices, voice: VoiceName) -> None:
        self._random, self._voices, self._voice = random, voices, voice

    def acts(self, scenario: Scenario) -> tuple[Act, ...]:
        lead_in = self._pause(_LEAD_IN_S)
        match scenario:
            case "answer":
                return (lead_in, self._question(), AwaitSpeech(), AwaitQuiet())
            case "interrupt":
                interruption = self._say("interruption", self._random.choice(_INTERRUPTIONS))
                return (lead_in, self._question(), self._listens(), interruption, AwaitSpeech(fresh=True), AwaitQuiet())
            case "backchannel":
                words = self._random.choices(list(BACKCHANNELS), list(BACKCHANNELS.values()))[0]
                nod = self._say("backchannel", words, _BACKCHANNEL_PEAK)
                return (lead_in, self._question(), self._listens(), nod, AwaitQuiet())
            case "hold":
                first, second = (self._say("question", text) for text in self._random.choice(_HOLDS))
                held = Pause(max(0, self._pause(_HOLD_S).samples - (len(first.samples) - first.end)))
                return (lead_in, first, held, second, AwaitSpeech(), AwaitQuiet())
            case "noise":
                silence = Pause(seconds_to_samples(_AFTER_NOISE_S, HEARD_HZ))
                return (lead_in, self._noise(), silence, self._question(), AwaitSpeech(), AwaitQuiet())

    def _question(self) -> Say:
        return self._say("question", self._random.choice(_QUESTIONS))

    def _listens(self) -> AwaitSpeech:
        return AwaitSpeech(speaking=self._pause(_REACTION_S).samples)

    def _pause(self, bounds_s: tuple[float, float]) -> Pause:
        return Pause(seconds_to_samples(self._random.uniform(*bounds_s), HEARD_HZ))

    def _noise(self) -> Say:
        level = 10 ** (self._random.uniform(*_NOISE_DB) / 20)
        return Say("noise", pink_noise(self._pause(_NOISE_S).samples, level, self._random.getrandbits(32)))

    def _say(self, kind: SayKind, text: str, peak: float = _PEAK) -> Say:
        spoken = self._voices.speak(self._voice, ScriptTurn(0, text))
        gain = np.float32(peak / max(float(np.abs(spoken.sound).max()), 1e-9))
        words = tuple((text, start, end) for text, (start, end) in zip(spoken.texts, spoken.words, strict=True))
        return Say(kind, spoken.sound * gain, words)
