"""A script to a conversation: two tracks of sound, and the exact times of their words.

conversation = make_conversation(shipped_script("cafe"), SynthConfig(seed=1), TIMINGS["switchboard"])
conversation.tracks[0], conversation.events[0].words
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from random import Random

import numpy as np
from numpy.typing import NDArray

from sca.config import SynthConfig
from sca.synth.schedule import Placed, schedule
from sca.synth.script import Kind, Script, ScriptTurn
from sca.synth.sound import Tracks, coded, in_room, pink_noise, white_noise, with_bleed
from sca.synth.timing import Timing
from sca.synth.voices import SpokenTurn, VoiceName, Voices, assign_voices, parse_voices
from sca.units import seconds_to_samples

__all__ = ["BACKCHANNELS", "FLOOR", "Event", "SyntheticConversation", "Word", "make_conversation"]

_LEAD_OUT_S = 0.8
_PEAK = 0.6
FLOOR = 6e-5
"""RMS of the noise floor, -84 dBFS: recordings are never digitally silent."""
BACKCHANNELS = {"yeah": 36, "uh-huh": 24, "right": 12, "mm-hmm": 10, "oh": 6, "okay": 6, "really": 3, "wow": 3}
"""Backchannels that are added, with weights in about the order of the frequencies in Switchboard."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word; its times are samples from the start of the conversation."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Event:
    """One turn of a conversation, as it was spoken.

    Attributes:
        speaker: 0 or 1.
        kind: What it does.
        start: The first sample.
        end: One past the last sample of its last word.
        words: The words that are heard.
        unspoken: The words that an interruption cut off.
        skipped: Words that the voice cannot speak.
        over: The index of the turn that it follows, interrupts or answers; None for the first one.
        line: The line of the script, from 1; 0 if it was added.
    """

    speaker: int
    kind: Kind
    start: int
    end: int
    words: tuple[Word, ...]
    unspoken: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    over: int | None = None
    line: int = 0

    @property
    def text(self) -> str:
        """The words that are heard."""
        return " ".join(word.text for word in self.words)


@dataclass(frozen=True, slots=True)
class SyntheticConversation:
    """A conversation with its truth.

    Attributes:
        script: The script.
        rate_hz: The rate of the tracks, in which all times count.
        voices: The voices of the speakers.
        tracks: Float32 mono `(n,)` of each speaker, of one length.
        events: The turns by start.
    """

    script: Script
    rate_hz: int
    voices: tuple[VoiceName, VoiceName]
    tracks: Tracks
    events: tuple[Event, ...]


def make_conversation(script: Script, settings: SynthConfig, timing: Timing, number: int = 0) -> SyntheticConversation:
    """Speak a script.

    Args:
        script: The script.
        settings: Voices, seed, and what happens to the sound.
        timing: The distributions; `interruptions` and `backchannels` of the settings replace its own.
        number: The number of the conversation. The same script, settings, timing and number give the same samples.

    Raises:
        UsageError: A voice does not exist.
        InputError: A voice cannot speak a turn.
        MissingToolError: An engine needs something that is not installed.
    """
    random = Random(f"{settings.seed}/{number}/{script.sha256}")  # noqa: S311 - not a secret
    names = assign_voices(parse_voices(settings.voices), script.speakers, random)

    def backchannel(speaker: int) -> SpokenTurn:
        text = random.choices(list(BACKCHANNELS), list(BACKCHANNELS.values()))[0]
        return voices.speak(names[speaker], ScriptTurn(speaker, text, Kind.backchannel))

    with Voices(settings.rate_hz) as voices:
        turns = [voices.speak(names[turn.speaker], turn) for turn in script.turns]
        placed = schedule(turns, _with_rates(timing, settings), random, settings.rate_hz, backchannel)
    tracks = _treated(_mixed(placed, settings), placed, settings, random)
    return SyntheticConversation(script, settings.rate_hz, names, tracks, tuple(_events(placed)))


def _with_rates(timing: Timing, settings: SynthConfig) -> Timing:
    share, rate = settings.interruptions, settings.backchannels
    return replace(
        timing,
        interruption_share=timing.interruption_share if share is None else share,
        backchannels_a_minute=timing.backchannels_a_minute if rate is None else rate,
    )


def _events(placed: Sequence[Placed[SpokenTurn]]) -> Iterator[Event]:
    order = sorted(range(len(placed)), key=lambda at: (placed[at].start, at))
    rank = {at: place for place, at in enumerate(order)}
    for entry in (placed[at] for at in order):
        spoken = entry.sounding
        words = zip(spoken.texts, spoken.words[: entry.words], strict=False)
        yield Event(
            spoken.turn.speaker,
            entry.kind,
            entry.start,
            entry.end,
            tuple(Word(text, entry.start + start, entry.start + end) for text, (start, end) in words),
            spoken.texts[entry.words :],
            spoken.skipped,
            None if entry.over is None else rank[entry.over],
            spoken.turn.line,
        )


def _mixed(placed: Sequence[Placed[SpokenTurn]], settings: SynthConfig) -> Tracks:
    """Return the speech of each speaker, with a peak of 0.6."""
    length = max(entry.end for entry in placed) + seconds_to_samples(_LEAD_OUT_S, settings.rate_hz)
    tracks = np.zeros(length, np.float32), np.zeros(length, np.float32)
    for entry in placed:
        sound = entry.sounding.sound
        if entry.words < len(entry.sounding.words):
            sound = _cut_off(sound, entry.end - entry.start, settings)
        track = tracks[entry.sounding.turn.speaker]
        sound = sound[: length - entry.start]
        track[entry.start : entry.start + len(sound)] += sound
    peaks = [max(float(np.abs(track).max()), 1e-9) for track in tracks]
    return tracks[0] * np.float32(_PEAK / peaks[0]), tracks[1] * np.float32(_PEAK / peaks[1])


def _cut_off(sound: NDArray[np.float32], end: int, settings: SynthConfig) -> NDArray[np.float32]:
    """Return the sound until `end`, and a fade after it."""
    fade = settings.fade_ms * settings.rate_hz // 1000
    heard = sound[: end + fade].copy()
    heard[end:] *= np.linspace(1, 0, len(heard) - end, dtype=np.float32)
    return heard


def _treated(tracks: Tracks, placed: Sequence[Placed[SpokenTurn]], settings: SynthConfig, random: Random) -> Tracks:
    """Return the tracks after the room, the bleed, the noise and the codec."""
    seeds = [int.from_bytes(sha256(random.randbytes(8)).digest()[:4], "big") for _ in range(4)]
    rate_hz = settings.rate_hz
    if settings.room:
        rooms = [in_room(track, rate_hz, settings.room, seeds[side]) for side, track in enumerate(tracks)]
        tracks = rooms[0], rooms[1]
    levels = [_speech_rms(tracks[side], placed, side) for side in (0, 1)]
    if settings.bleed_db is not None:
        tracks = with_bleed(tracks, settings.bleed_db)
    result = []
    for side, track in enumerate(tracks):
        if settings.snr_db is None:
            noisy = track + white_noise(len(track), FLOOR, seeds[2 + side])
        else:
            noisy = track + pink_noise(len(track), levels[side] * 10 ** (-settings.snr_db / 20), seeds[2 + side])
        result.append(coded(np.clip(noisy, -1, 1), rate_hz, settings.codec))
    return result[0], result[1]


def _speech_rms(track: NDArray[np.float32], placed: Sequence[Placed[SpokenTurn]], side: int) -> float:
    """Return the RMS of a speaker's turns; of all of the track if the speaker has none."""
    turns = [entry for entry in placed if entry.sounding.turn.speaker == side]
    speech = np.concatenate([track[entry.start : entry.end] for entry in turns] or [track])
    return float(np.sqrt(np.mean(speech**2)))
