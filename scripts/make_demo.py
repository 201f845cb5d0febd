#!/usr/bin/env python3
"""Make the demo corpus in `sca/resources/demo`: one minute of conversation between two synthetic speakers.

    python scripts/make_demo.py [--out FOLDER]

Writes the MagicHub layout (WAV, TXT) and WORDS, the times of every word. libespeak-ng synthesises the speech and
reports the sample at which each word starts, so the times are exact. The dialogue has quick turns, backchannels
during the other's speech, a late answer, and an interruption after which the interrupted speaker stops. The same
espeak-ng gives the same bytes on every run.

Requires espeak-ng (`apt-get install espeak-ng`).
"""

import argparse
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile
import soxr

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sca.errors import MissingToolError
from sca.infer.speech.espeak_api import CHARS_UTF8, SYNCHRONOUS, WORD, OnAudio, events_of, open_espeak

RATE_HZ = 16_000
SESSION = "D0001_S0001_0"
LEAD_IN_S, LEAD_OUT_S = 0.5, 0.8
FADE_S = 0.02
NOISE = 6e-5  # RMS of the noise floor, about -84 dBFS: avoids digital silence, and compresses well
BREATH_S, BREATH = 0.35, 0.012  # the sound under a tag such as [SONANT]
SILENT = 0.003  # espeak pauses below this share of full scale


@dataclass(frozen=True)
class Voice:
    """One speaker: the espeak voice, and the peak level of the track."""

    speaker_id: str
    gender: str
    espeak: str
    words_per_minute: int
    pitch: int
    peak: float


@dataclass(frozen=True)
class Turn:
    """One line of the script, and when it starts.

    Attributes:
        speaker: Index of the speaker in `VOICES`.
        text: What is spoken.
        gap_s: Seconds after the end of the previous turn; negative for an overlap.
        over: Makes the line a backchannel that starts with this word of the previous turn and does not take the floor.
        unspoken: How the line would continue without the interruption; the voice is cut on the way to it.
    """

    speaker: int
    text: str
    gap_s: float = 0.3
    over: str | None = None
    unspoken: str = ""


MAX, NORA = 0, 1
VOICES = (
    Voice("G0001", "male", "en-us+m3", 178, 38, 0.62),
    Voice("G0002", "female", "en-gb-x-rp+f2", 186, 58, 0.55),
)
# espeak speaks some pairs as one word ("of the", "was the", "to be") and reports no time for the second word. The
# script avoids them, and `Espeak.speak` refuses a text in which a word has no time.
SCRIPT = (
    Turn(MAX, "Nora, guess what. I finally did it. I went on stage last night."),
    Turn(NORA, "No way! You did that open mic?", 0.2),
    Turn(MAX, "[SONANT]", 0.3),
    Turn(MAX, "Five whole minutes. New jokes, clean shirt, and nobody stopped me.", 0.15),
    Turn(NORA, "mm hmm", over="clean"),
    Turn(NORA, "And? Did anybody laugh?", 0.45),
    Turn(MAX, "Well, the smoke alarm went off after my first joke. So, technically, yes.", 0.95),
    Turn(NORA, "oh no", over="after"),
    Turn(NORA, "Wait. You got one laugh, and it runs on batteries?", 0.25),
    Turn(
        MAX,
        "It had great timing. I even took a bow. Then I told my story about a penguin who walks into a bank and",
        0.5,
        unspoken="asks for ice",
    ),
    Turn(NORA, "yeah", over="took"),
    Turn(NORA, "Stop, stop, stop. Please, not that penguin again.", -0.5),
    Turn(MAX, "People love that penguin.", 0.6),
    Turn(NORA, "Your mother loves that penguin.", 0.15),
    Turn(MAX, "She came, actually. She sat right in front, kept her coat on, and left before I finished.", 0.4),
    Turn(NORA, "oh wow", over="coat"),
    Turn(NORA, "Ouch. And what did she say?", 1.1),
    Turn(MAX, "She said I'm very brave. And that my brother became a dentist.", 0.35),
    Turn(NORA, "I'm so sorry, but that is funnier than your whole set.", 0.55),
    Turn(MAX, "right", over="funnier"),
    Turn(MAX, "I know. I wrote it down. Next time I open with it.", -0.15),
    Turn(NORA, "Hang on, you are going back?", 0.25),
    Turn(MAX, "Of course. That smoke alarm asked for me by name.", 0.8),
)


_RATE, _PITCH = 1, 3


class Espeak:
    """libespeak-ng through its C API: synthesises a text and reports the sample at which each word starts."""

    def __init__(self) -> None:
        try:
            self._library = open_espeak()
        except MissingToolError as error:
            raise SystemExit(f"make_demo: {error.message}; {error.hint}") from error
        self.rate_hz = int(self._library.espeak_Initialize(SYNCHRONOUS, 0, None, 0))
        if self.rate_hz <= 0:
            raise SystemExit("make_demo: libespeak-ng found no data; install espeak-ng-data")
        self._pieces: list[np.ndarray] = []
        self._starts: dict[int, int] = {}
        self._callback = OnAudio(self._on_audio)  # stored, because the library does not hold a reference to it
        self._library.espeak_SetSynthCallback(self._callback)
        self.version = self._library.espeak_Info(None).decode()

    def _on_audio(self, samples, count, events) -> int:
        if samples and count > 0:
            self._pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        for event in events_of(events):
            # An event without a length marks a pause, not a word.
            if event.kind == WORD and event.length > 0:
                self._starts.setdefault(event.text_position - 1, event.sample)
        return 0

    def speak(self, text: str, voice: Voice) -> tuple[np.ndarray, list[tuple[str, int, int]]]:
        """Return float32 samples at `rate_hz` in [-1, 1], and (word, start, end) in samples."""
        self._pieces.clear()
        self._starts.clear()
        if self._library.espeak_SetVoiceByName(voice.espeak.encode()) != 0:
            raise SystemExit(f"make_demo: espeak-ng has no voice {voice.espeak}")
        self._library.espeak_SetParameter(_RATE, voice.words_per_minute, 0)
        self._library.espeak_SetParameter(_PITCH, voice.pitch, 0)
        raw = text.encode()
        self._library.espeak_Synth(raw, len(raw) + 1, 0, 1, 0, CHARS_UTF8, None, None)
        self._library.espeak_Synchronize()
        pcm = np.concatenate(self._pieces).astype(np.float32) / 32768
        return pcm, _word_spans(text, self._starts, pcm)


def _word_spans(text: str, starts: dict[int, int], pcm: np.ndarray) -> list[tuple[str, int, int]]:
    """Return the span of each word: until the next one starts, or until the sound stops before a pause."""
    spoken, at = [], 0
    for word in text.split():
        at = text.index(word, at)
        if at not in starts:
            raise SystemExit(
                f"make_demo: espeak-ng joins {word!r} to the word before it in {text!r}; write it differently"
            )
        spoken.append((word, starts[at]))
        at += len(word)
    untils = [start for _, start in spoken[1:]] + [len(pcm)]
    spans = []
    for (word, start), until in zip(spoken, untils, strict=True):
        loud = np.flatnonzero(np.abs(pcm[start:until]) > SILENT)
        spans.append((word, start + int(loud[0]), start + int(loud[-1]) + 1))
    return spans


@dataclass
class Track:
    """The speech of one speaker: pieces of audio by first sample, and the lines with their words, in samples at 16 kHz."""

    voice: Voice
    pieces: list[tuple[int, np.ndarray]] = field(default_factory=list)
    lines: list[tuple[int, int, str]] = field(default_factory=list)
    words: list[tuple[str, int, int]] = field(default_factory=list)


@dataclass(frozen=True)
class SpokenTurn:
    """The audio of a turn at 16 kHz, from its first word on; words are (word, start, end) inside it."""

    pcm: np.ndarray
    words: tuple[tuple[str, int, int], ...]


def _fade_out(pcm: np.ndarray) -> np.ndarray:
    ramp = np.ones(len(pcm), np.float32)
    ramp[-int(FADE_S * RATE_HZ) :] = np.linspace(1, 0, int(FADE_S * RATE_HZ), dtype=np.float32)
    return pcm * ramp


def speak(espeak: Espeak, turn: Turn, voice: Voice, random: np.random.RandomState) -> SpokenTurn:
    """Synthesise a turn, cut at a word boundary if the script interrupts it."""
    if turn.text.startswith("["):
        breath = random.standard_normal(int(BREATH_S * RATE_HZ)).astype(np.float32)
        return SpokenTurn(BREATH * breath * np.hanning(len(breath)).astype(np.float32), ())
    pcm, spans = espeak.speak(f"{turn.text} {turn.unspoken}".strip(), voice)
    kept = spans[: len(turn.text.split())]
    first, last = kept[0][1], kept[-1][2]
    sound = soxr.resample(pcm[first:last], espeak.rate_hz, RATE_HZ).astype(np.float32)
    if len(kept) < len(spans):
        sound = _fade_out(sound)

    def at(sample: int) -> int:
        return min(round((sample - first) * RATE_HZ / espeak.rate_hz), len(sound))

    return SpokenTurn(sound, tuple((word, at(start), at(end)) for word, start, end in kept))


def perform(espeak: Espeak, script: tuple[Turn, ...]) -> tuple[Track, Track]:
    """Place every turn on the time line of its speaker."""
    tracks = (Track(VOICES[MAX]), Track(VOICES[NORA]))
    # RandomState returns the same numbers in every version of NumPy; default_rng does not guarantee that.
    random = np.random.RandomState(1)
    floor_start = floor_end = int(LEAD_IN_S * RATE_HZ)
    floor_words: tuple[tuple[str, int, int], ...] = ()
    for number, turn in enumerate(script):
        track = tracks[turn.speaker]
        spoken = speak(espeak, turn, track.voice, random)
        if turn.over is not None:
            start = floor_start + next(begin for word, begin, _ in floor_words if word.strip(".,!?") == turn.over)
        else:
            start = floor_end + (round(turn.gap_s * RATE_HZ) if number else 0)
            floor_start, floor_end, floor_words = start, start + len(spoken.pcm), spoken.words
        if track.lines and start < track.lines[-1][1]:
            raise SystemExit(f"make_demo: {turn.text!r} starts while its speaker is still talking; change the script")
        text = " ".join(word for word, _, _ in spoken.words) or turn.text
        track.pieces.append((start, spoken.pcm))
        track.lines.append((start, start + len(spoken.pcm), text))
        track.words.extend((word, start + begin, start + end) for word, begin, end in spoken.words)
    return tracks


def mix(track: Track, samples: int, seed: int) -> np.ndarray:
    """Mix the track as int16: speech at the level of the voice over a noise floor."""
    speech = np.zeros(samples, np.float32)
    for start, pcm in track.pieces:
        speech[start : start + len(pcm)] += pcm
    speech *= track.voice.peak / np.abs(speech).max()
    noise = np.random.RandomState(seed).standard_normal(samples).astype(np.float32) * NOISE
    return np.round((speech + noise) * 32767).astype(np.int16)


def write(out: Path, tracks: tuple[Track, Track]) -> int:
    """Write the corpus and return the number of samples of each track."""
    samples = max(end for track in tracks for _, end, _ in track.lines) + int(LEAD_OUT_S * RATE_HZ)
    for seed, track in enumerate(tracks):
        name, speaker = f"{SESSION}_{track.voice.speaker_id}", track.voice.speaker_id
        for folder in ("WAV", "TXT", "WORDS"):
            (out / folder).mkdir(parents=True, exist_ok=True)
        soundfile.write(
            out / "WAV" / f"{name}.flac", mix(track, samples, seed), RATE_HZ, subtype="PCM_16", compression_level=1.0
        )
        lines = (
            f"[{start / RATE_HZ:.3f},{end / RATE_HZ:.3f}]\t{speaker}\t{track.voice.gender},none\t{text}\n"
            for start, end, text in track.lines
        )
        (out / "TXT" / f"{name}.txt").write_text("".join(lines), encoding="utf-8", newline="\n")
        words = (
            json.dumps([word, round(start / RATE_HZ, 4), round(end / RATE_HZ, 4)]) for word, start, end in track.words
        )
        (out / "WORDS" / f"{name}.json").write_text("[\n" + ",\n".join(words) + "\n]\n", encoding="utf-8", newline="\n")
    return samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shipped = Path(__file__).resolve().parents[1] / "sca" / "resources" / "demo"
    parser.add_argument("--out", type=Path, default=shipped, help="folder to write (default: %(default)s)")
    out = parser.parse_args().out
    espeak = Espeak()
    tracks = perform(espeak, SCRIPT)
    samples = write(out, tracks)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"{out}: session {SESSION}, {samples / RATE_HZ:.1f} s, {size / 1e6:.2f} MB, espeak-ng {espeak.version}")
    for track in tracks:
        talk_s = sum(end - start for start, end, _ in track.lines) / RATE_HZ
        print(
            f"  {track.voice.speaker_id}: {len(track.lines)} lines, {len(track.words)} words, {talk_s:.1f} s of sound"
        )


if __name__ == "__main__":
    main()
