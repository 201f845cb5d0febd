"""Measure the diarization of `sca transcribe --diarize` on conversations whose turns are known exactly.

Conditions: sentences spoken by Piper, flite and espeak-ng voices (those that are installed), put on one channel as
turns with pauses of 0.2 to 0.8 s, short answers, and overlaps of `--overlap` of the turns; noise at -50 dB. Each of
`--seeds` conversations has 1, 2 or 3 speakers, which the diarizer is not told. DER is that of NIST (md-eval): missed
speech, false alarms and confused speakers by seconds, divided by the seconds of speech, with the best assignment of
speakers and without 0.25 s around every border of a true turn; overlap counts for each speaker. Speech is found by
the VAD, as in the command. Words are the exact words of the truth: word accuracy is the share with the right speaker.
Overlap is scored in seconds. CPU is that of embeddings, clustering and decoding, without the VAD.

    uv run python scripts/bench/diarize.py [--model dvector] [--seeds 4] [--seconds 90] [--overlap 0.0]
"""

import argparse
import itertools
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sca.data.diarization.diarizer import Diarizer, SpeakerCount
from sca.data.diarization.timeline import SpokenSpan, Turn
from sca.data.speakers.windows import load_window_model
from sca.data.transcription.speech import detect_speech

RATE = 16_000
STEP_S = 0.01
LINES = (
    "so tell me what happened on the train yesterday",
    "did you ever finish that book about the lighthouse, the one with the red cover",
    "my sister moved to Lisbon and she already speaks Portuguese better than her neighbours",
    "honestly I think the cat understands more than my boss does",
    "the flight was delayed for six hours and nobody told us anything at all",
    "I bought a second hand piano and now I cannot get it up the stairs",
    "last week the power went out right in the middle of the match",
    "I had exactly the same thing in March, it took them a month to fix it",
    "to be fair, you never liked trains in the first place",
    "my grandmother used to say that if you wait long enough everything becomes a story",
    "so I stood there with two suitcases and a melon, and nobody would move",
    "and then the man in the blue coat started singing, quite well in fact",
)
SHORT = ("yeah", "right", "oh wow", "really", "no way", "exactly")
Truth = list[tuple[float, float, int]]


def voices() -> dict[str, list[str]]:
    """Return the commands of the voices at hand: `{text}` and `{file}` are filled in."""
    found = {}
    if shutil.which("flite"):
        for voice in ("rms", "slt", "awb", "kal16"):
            found[f"flite-{voice}"] = ["flite", "-voice", voice, "-t", "{text}", "-o", "{file}"]
    if shutil.which("espeak-ng"):
        for voice in ("en-us", "en-us+f3"):
            found[f"espeak-{voice}"] = ["espeak-ng", "-v", voice, "-w", "{file}", "{text}"]
    return found


class Speaker:
    """A voice that speaks each text once."""

    def __init__(self, name: str, command: list[str] | None) -> None:
        self.name, self._command = name, command
        self._spoken: dict[str, NDArray[np.float32]] = {}
        if command is None:
            from sca.infer.speech.registry import load_speech_engine

            self._piper = load_speech_engine("piper").open()

    def speak(self, text: str) -> NDArray[np.float32]:
        if text not in self._spoken:
            self._spoken[text] = _trimmed(self._speak(text))
        return self._spoken[text]

    def _speak(self, text: str) -> NDArray[np.float32]:
        if self._command is None:
            samples = np.concatenate([chunk.samples for chunk in self._piper.speak(text)])
            rate = self._piper.sample_rate
        else:
            with tempfile.TemporaryDirectory() as folder:
                file = f"{folder}/speech.wav"
                subprocess.run([part.format(text=text, file=file) for part in self._command], check=True)
                samples, rate = soundfile.read(file, dtype="float32")
        samples = soxr.resample(samples, rate, RATE).astype(np.float32)
        return samples * np.float32(0.08 / max(1e-6, float(np.sqrt(np.square(samples).mean()))))


def _trimmed(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    loud = np.flatnonzero(np.abs(samples) > 0.02 * np.abs(samples).max())
    return samples[loud[0] : loud[-1] + 1]


def conversation(
    speakers: Sequence[Speaker], seconds: float, overlap: float, rng: np.random.Generator
) -> tuple[NDArray[np.float32], Truth, list[tuple[SpokenSpan, int]]]:
    """Return the sound, the turns, and the words with their speakers; a turn's words share its time evenly."""
    mix = np.zeros(round(seconds * RATE) + 20 * RATE, np.float32)
    truth: Truth = []
    words: list[tuple[SpokenSpan, int]] = []
    at, speaker = 0.5, 0
    while at < seconds:
        text = str(rng.choice(SHORT if rng.random() < 0.2 else LINES))
        if rng.random() < 0.3 and text in LINES:
            text = f"{text}, {rng.choice(LINES)}"
        sound = speakers[speaker].speak(text)
        start = at
        if truth and truth[-1][2] != speaker and rng.random() < overlap:
            start = max(truth[-1][0] + 0.3, at - float(rng.uniform(1.0, 2.5)))
        first = round(start * RATE)
        mix[first : first + len(sound)] += sound
        end = start + len(sound) / RATE
        truth.append((start, end, speaker))
        spoken = text.split()
        edges = np.linspace(start, end, len(spoken) + 1)
        words += [(SpokenSpan(word, edges[n], edges[n + 1]), speaker) for n, word in enumerate(spoken)]
        at = max(at, end) + float(rng.uniform(0.2, 0.8))
        if len(speakers) > 1 and rng.random() < 0.8:
            speaker = int(rng.choice([other for other in range(len(speakers)) if other != speaker]))
    mix = mix[: round((at + 0.5) * RATE)]
    mix += rng.normal(0, 0.003, len(mix)).astype(np.float32)
    return mix, truth, sorted(words, key=lambda pair: pair[0].start_s)


def grid(turns: Sequence[tuple[float, float, int]], speakers: int, steps: int) -> NDArray[np.bool_]:
    """Return who speaks in each step, `(steps, speakers)`."""
    found = np.zeros((steps, speakers), bool)
    for start, end, speaker in turns:
        found[round(start / STEP_S) : round(end / STEP_S), speaker] = True
    return found


def best_assignment(truth: NDArray[np.bool_], found: NDArray[np.bool_]) -> dict[int, int]:
    """Return the found speaker of each true one, with the most time in common."""
    shared = truth.T.astype(np.float32) @ found.astype(np.float32)
    most, best = -1.0, {}
    few, many = sorted(shared.shape)
    for chosen in itertools.permutations(range(many), few):
        pairs = list(enumerate(chosen)) if shared.shape[0] == few else [(t, f) for f, t in enumerate(chosen)]
        total = float(sum(shared[t, f] for t, f in pairs))
        if total > most:
            most, best = total, dict(pairs)
    return best


def scored(truth: Truth, steps: int, collar_s: float = 0.25) -> NDArray[np.bool_]:
    """Return the steps that count: those not within the collar of a border of a true turn."""
    counts = np.ones(steps, bool)
    for start, end, _ in truth:
        for border in (start, end):
            counts[max(0, round((border - collar_s) / STEP_S)) : round((border + collar_s) / STEP_S)] = False
    return counts


def measure(
    diarizer: Diarizer, speakers: Sequence[Speaker], seconds: float, overlap: float, seed: int
) -> dict[str, object]:
    mix, truth, words = conversation(speakers, seconds, overlap, np.random.default_rng(seed))
    speech = detect_speech(mix)
    before = time.process_time()
    found = diarizer.diarize(mix, speech)
    named = found.speakers_of([word for word, _ in words])
    turns: list[Turn] = found.with_words([word for word, _ in words], named).turns()
    cpu_s = time.process_time() - before
    steps = -(-len(mix) // 160)
    true, heard = grid(truth, len(speakers), steps), grid(turns, max(1, found.speakers), steps)
    counts = scored(truth, steps)
    pairs = best_assignment(true[counts], heard[counts])
    n_true, n_heard = true[counts].sum(1), heard[counts].sum(1)
    right = sum((true[counts][:, t] & heard[counts][:, f]).astype(int) for t, f in pairs.items())
    total = n_true.sum()
    alone = [(word, speaker, n) for n, (word, speaker) in enumerate(words)]
    both_true, both_heard = n_true > 1, n_heard > 1
    return {
        "speakers": len(speakers),
        "found": found.speakers,
        "seconds": round(len(mix) / RATE, 1),
        "der": round(float((np.maximum(n_true, n_heard) - right).sum() / total), 4),
        "missed": round(float(np.maximum(0, n_true - n_heard).sum() / total), 4),
        "false_alarm": round(float(np.maximum(0, n_heard - n_true).sum() / total), 4),
        "confused": round(float((np.minimum(n_true, n_heard) - right).sum() / total), 4),
        "words_right": round(sum(pairs.get(s) == named[n] for _, s, n in alone) / len(alone), 4),
        "overlap_s": round(float(both_true.sum()) * STEP_S, 2),
        "overlap_found_s": round(float((both_true & both_heard).sum()) * STEP_S, 2),
        "overlap_false_s": round(float((~both_true & both_heard).sum()) * STEP_S, 2),
        "cpu_per_s": round(cpu_s / (len(mix) / RATE), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="dvector")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=90.0)
    parser.add_argument("--overlap", type=float, default=0.0)
    parser.add_argument("--threshold", type=float)
    given = parser.parse_args()
    known = {**voices(), "piper-joe": None}
    at_hand = [Speaker(name, command) for name, command in known.items()]
    diarizer = Diarizer(load_window_model(given.model), SpeakerCount(), given.threshold)
    rows = []
    for count in (1, 2, 3):
        for seed in range(given.seeds):
            chosen = np.random.default_rng(100 * count + seed).permutation(len(at_hand))[:count]
            row = measure(diarizer, [at_hand[n] for n in chosen], given.seconds, given.overlap, seed)
            rows.append({"voices": [at_hand[n].name for n in chosen], **row})
            print(json.dumps(rows[-1]), file=sys.stderr)
    summary = {
        str(count): {
            "right_count": f"{sum(row['found'] == count for row in of_count)} of {len(of_count)}",
            **{
                name: round(float(np.mean([row[name] for row in of_count])), 4)
                for name in ("der", "confused", "words_right", "cpu_per_s")
            },
        }
        for count in (1, 2, 3)
        if (of_count := [row for row in rows if row["speakers"] == count])
    }
    print(
        json.dumps(
            {"bench": "diarize", "model": given.model, "overlap": given.overlap, "by_speakers": summary, "rows": rows}
        )
    )


if __name__ == "__main__":
    main()
