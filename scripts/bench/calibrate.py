"""Words that the guards of `sca transcribe` cost, and inventions that they catch, with a real recognizer and exact truth.

    python scripts/bench/calibrate.py [--model whisper-tiny-en] [--minutes 35] [--voices LIST] [--plants 40] [--cache DIR]

Conditions: `sca calibrate` of `--minutes` (clean, pink noise, telephone), which `--cache` keeps for a second run, and the
correction that fits. "removed" are recognized words that the result lacks, "unsure" those with a doubt, "real" recognized
words that are equal to the truth. Then `--plants` recordings of a spoken sentence, one sound without words, and another
sentence: noise, hum, music, applause, laughter, speech played backwards, silence. Every word inside the sound is
invented, except within 0.3 s of its edges, where words of the sentences can be; it is caught if it is removed or unsure.
The same with `--no-vad`, which decodes the sounds too. "planted" are phrases that are put into the result inside the
sound: stock phrases of subtitles, loops and whole sentences, with the word probabilities 1.0 and 0.5. Reactions are found
by YAMNet if it is on this machine. Words are counted, not timed, so load does not matter.
"""

import argparse
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sca.calibrate.material import pieces
from sca.calibrate.run import calibrate
from sca.calibrate.tracks import HeardTrack
from sca.config import load_settings
from sca.data.reactions.base import Detector
from sca.data.reactions.choice import choose_detector
from sca.data.reactions.registry import load_detector
from sca.data.runs.ledger import Ledger
from sca.data.transcription.hallucinations import RecognizedWord, Speech, guard_words
from sca.data.transcription.speech import padded
from sca.data.transcription.transcriber import corrected_transcription, timeline_of
from sca.data.transcription.whisper import Recognizer, RecognizerOptions
from sca.synth.score import paired, plain
from sca.synth.script import Kind, ScriptTurn, shipped_names, shipped_script
from sca.synth.sound import pink_noise
from sca.synth.voices import Voices, parse_voices
from sca.units import HEARD_HZ
from sca.word_times.correction import Correction, corrected

SOUNDS = ("silence", "pink noise", "white noise", "hum", "music", "applause", "laughter", "backwards")
PHRASES = (
    "Thanks for watching!",
    "Thank you.",
    "Please subscribe to my channel.",
    "you",
    "Subtitles by the Amara.org community",
    "I don't know. I don't know. I don't know. I don't know.",
    "He went back to the house and closed the door.",
    "So, what are you going to do about it?",
)
EDGE_S, WORD_S = 0.3, 0.3


def real_words(tracks: list[HeardTrack], correction: Correction) -> dict[str, object]:
    """Count what the guards do to recognized words that are equal to the truth."""
    counts: Counter[str] = Counter()
    doubts: Counter[str] = Counter()
    examples: list[str] = []
    for track in tracks:
        raw = list(track.words())
        spans, texts = [(word.start, word.end) for word in raw], [word.text for word in raw]
        times = corrected(spans, track.voiced, correction, texts)
        moved = [
            RecognizedWord(word.text, round(start, 3), round(end, 3), word.probability, word.evidence)
            for word, (start, end) in zip(raw, times, strict=True)
        ]
        spans = [(int(start * HEARD_HZ), int(end * HEARD_HZ)) for start, end in track.voiced]
        margins = padded(spans, int(track.audio_s * HEARD_HZ))
        speech = Speech([(a / HEARD_HZ, b / HEARD_HZ) for a, b in margins], track.voiced)
        kept = guard_words(moved, speech, Counter())
        counts["true"] += len(track.truth)
        counts["recognized"] += len(raw)
        counts["removed"] += len(raw) - len(kept)
        for true, found in paired([word[0] for word in track.truth], [word.text for word in kept]):
            counts["missing"] += found is None
            if true is None or found is None or plain(track.truth[true][0]) != plain(kept[found].text):
                continue
            counts["real"] += 1
            if (doubt := kept[found].doubt) is not None:
                counts["unsure"] += 1
                doubts[doubt] += 1
                if len(examples) < 40:
                    examples.append(f"{doubt}: {kept[found].text.strip()} p={kept[found].probability:.2f}")
    return {**counts, "doubts": dict(doubts), "examples": examples}


def sound(name: str, samples: int, seed: int, speech: np.ndarray) -> np.ndarray:
    """Return a sound without words, float32 at 16 kHz."""
    random, time = np.random.RandomState(seed), np.arange(samples) / HEARD_HZ
    if name == "silence":
        return pink_noise(samples, 1e-4, seed)
    if name == "pink noise":
        return pink_noise(samples, 0.1, seed)
    if name == "white noise":
        return (random.standard_normal(samples) * 0.05).astype(np.float32)
    if name == "hum":
        return sum(0.1 / n * np.sin(2 * np.pi * 50 * n * time) for n in (1, 2, 3, 5)).astype(np.float32)
    if name == "music":
        chords = random.choice([220.0, 246.9, 261.6, 293.7, 329.6, 392.0], (samples // (HEARD_HZ // 2) + 1, 3))
        pitch = np.repeat(chords, HEARD_HZ // 2, axis=0)[:samples]
        return (0.06 * np.sin(2 * np.pi * np.cumsum(pitch, 0) / HEARD_HZ).sum(1)).astype(np.float32)
    if name == "applause":
        claps = (random.rand(samples) < 60 / HEARD_HZ) * random.rand(samples)
        decay = np.exp(-np.arange(400) / 80) * random.standard_normal(400)
        return (0.3 * np.convolve(claps, decay)[:samples]).astype(np.float32)
    if name == "laughter":
        bursts = np.maximum(0, np.sin(2 * np.pi * 4.5 * time)) ** 2
        voice = sum(np.sin(2 * np.pi * n * (220 * time + 2 * np.sin(2 * np.pi * 0.7 * time))) / n for n in range(1, 12))
        return (0.08 * bursts * (voice + 0.5 * random.standard_normal(samples))).astype(np.float32)
    return np.resize(speech[::-1], samples).astype(np.float32)


def plants(count: int, voices: str) -> Iterator[tuple[str, np.ndarray, tuple[float, float]]]:
    """Yield the name of the sound, the recording, and where no word is."""
    turns = [turn.text for name in shipped_names() for turn in shipped_script(name).turns if len(turn.text) > 25]
    names = parse_voices(voices)
    with Voices(HEARD_HZ) as opened:
        for n in range(count):
            voice = names[n // len(SOUNDS) % len(names)]  # each sound has every voice
            first, last = (
                opened.speak(voice, ScriptTurn(0, turns[(2 * n + k) % len(turns)], Kind.turn)).sound * 0.5
                for k in (0, 1)
            )
            name = SOUNDS[n % len(SOUNDS)]
            length = int((3 + n % 4) * HEARD_HZ)
            gap = np.zeros(HEARD_HZ // 2, np.float32)
            middle = sound(name, length, n, first)
            start = (len(first) + len(gap)) / HEARD_HZ
            recording = np.concatenate([first, gap, middle, gap, last]).astype(np.float32)
            yield name, recording + pink_noise(len(recording), 6e-5, n), (start, start + length / HEARD_HZ)


def caught(
    recognizer: Recognizer, detector: Detector | None, correction: Correction | None, made: list[tuple]
) -> dict[str, object]:
    """Count invented words, and those that are removed or unsure, by sound."""
    totals: dict[str, Counter[str]] = {name: Counter() for name in SOUNDS}
    missed = []
    for name, samples, (first, last) in made:
        found = recognizer.transcribe(samples)
        found = found if correction is None else corrected_transcription(found, correction)
        reactions = [] if detector is None else detector.find(samples, found.speech)
        words, _ = timeline_of(found, reactions, len(samples) / HEARD_HZ, Counter(), with_words=True)
        raw = [word for segment in found.segments for word in segment]
        invented, left = (
            [word for word in part if first + EDGE_S < (word.start + word.end) / 2 < last - EDGE_S]
            for part in (raw, words)
        )
        sure = [word for word in left if word.doubt is None]
        totals[name]["recordings"] += 1
        totals[name]["invented"] += len(invented)
        totals[name]["missed"] += len(sure)
        if sure:
            missed.append(
                f"{name}: {''.join(w.text for w in sure).strip()} p={np.mean([w.probability for w in sure]):.2f}"
            )
    invented, missing = (sum(count[key] for count in totals.values()) for key in ("invented", "missed"))
    share = round(1 - missing / invented, 4) if invented else None
    return {
        "invented": invented,
        "caught": share,
        "by_sound": {name: dict(count) for name, count in totals.items() if count["invented"]},
        "missed": missed,
    }


def planted(recognizer: Recognizer, detector: Detector | None, made: list[tuple]) -> dict[str, object]:
    """Put phrases into the result of each recording, inside its sound, and count those that are caught, by sound."""
    totals: Counter[str] = Counter()
    missed: Counter[str] = Counter()
    examples: set[str] = set()
    for name, samples, (first, last) in made:
        found = recognizer.transcribe(samples)
        reactions = [] if detector is None else detector.find(samples, found.speech)
        before, after = (
            [word for segment in found.segments for word in segment if (word.start < middle) == is_before]
            for middle, is_before in (((first + last) / 2, True), ((first + last) / 2, False))
        )
        for phrase in PHRASES:
            for probability in (1.0, 0.5):
                texts = phrase.split()
                step = min(WORD_S, (last - first - 2 * EDGE_S) / len(texts))
                words = [
                    RecognizedWord(f" {text}", first + EDGE_S + n * step, first + EDGE_S + (n + 1) * step, probability)
                    for n, text in enumerate(texts)
                ]
                spoken = replace(found, segments=[[w for w in before if w.end <= words[0].start], words, after])
                left, _ = timeline_of(spoken, reactions, len(samples) / HEARD_HZ, Counter(), with_words=True)
                inside = [w for w in left if first < (w.start + w.end) / 2 < last and w.text.strip() in texts]
                totals[name] += 1
                if any(word.doubt is None for word in inside):
                    missed[name] += 1
                    examples.add(f"{name}: {phrase} p={probability}")
    count = sum(totals.values())
    silent = [name for name in totals if name != "backwards"]
    return {
        "planted": count,
        "caught": round(1 - missed.total() / count, 4),
        "caught_without_backwards": round(1 - sum(missed[n] for n in silent) / sum(totals[n] for n in silent), 4),
        "missed": dict(missed),
        "examples": sorted(examples)[:12],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="whisper-tiny-en")
    parser.add_argument("--minutes", type=float, default=35.0)
    parser.add_argument("--voices", default="espeak:en-us+m3,piper:joe,espeak:en-gb-x-rp+f2,espeak:en-us+f3")
    parser.add_argument("--plants", type=int, default=40)
    parser.add_argument("--seed", type=int, default=100)
    parser.add_argument("--cache", type=Path)
    given = parser.parse_args()
    result: dict[str, object] = {"load": round(os.getloadavg()[0], 1), "model": given.model, "voices": given.voices}
    with tempfile.TemporaryDirectory() as temporary:
        home = load_settings()
        options = {"minutes": given.minutes, "voices": given.voices, "seed": given.seed}
        settings = home.model_copy(update={"calibrate": home.calibrate.model_copy(update=options)})
        recognizer = Recognizer(RecognizerOptions(given.model, "cpu"))
        folder = given.cache or Path(temporary)
        summary = calibrate(
            given.model, settings, output=folder / "profile.json", work=folder / "work", recognizer=recognizer
        )
        profile = summary.details.profile
        assert profile is not None
        entries = Ledger(folder / "work" / "ledger.jsonl").entries()
        tracks = [
            HeardTrack.model_validate(track)
            for piece in pieces(settings.calibrate)
            for track in entries[piece.name].extra["tracks"]
        ]
        result["correction"] = str(profile)
        result["before"], result["after"] = (
            [row.model_dump() for row in rows] for rows in (profile.before, profile.after)
        )
        result["real_words"] = real_words(tracks, profile.correction)
        made = list(plants(given.plants, given.voices))
        detector = load_detector(choose_detector("auto").name)
        result["reactions"] = None if detector is None else detector.name
        result["invented"] = caught(recognizer, detector, profile.correction, made)
        everything = Recognizer(RecognizerOptions(given.model, "cpu", vad=False))
        result["invented_without_vad"] = caught(everything, detector, profile.correction, made)
        result["planted"] = planted(recognizer, detector, made)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
