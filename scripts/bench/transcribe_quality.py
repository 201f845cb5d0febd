"""Measure what the guards of `sca transcribe` cost in words, with the earlier guard of 25 letters a second and now.

Conditions: sentences and short answers with exact text, spoken by espeak-ng at each of `--rates` words per minute, one
recording per rate; `--model` on the CPU with word times. "Before" emulates the guard that removed phrases of more than
25 letters a second, on the same recognised words. WER counts replaced, missing and added words against the text;
"lost" are recognised words that are not in the certain text.

With `--reactions FOLDER`, the set of `scripts/make_reaction_set.py`, also the F1 of the audience's reactions, at ± 0.5 and
± 1 s, next to the WER of the same recordings, by each detector of `--detectors`: `none` (the earlier default), `energy`
and `auto`. "invented" are certain words that no line has at their time: at least 0.5 s from all speech.

    uv run python scripts/bench/transcribe_quality.py [--model whisper-tiny-en] [--rates 160 240 320] [--reactions FOLDER]
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sca.data.reactions.evaluate import compare, read_timelines
from sca.data.transcription.hallucinations import RecognizedWord, phrases, text_of
from sca.data.transcription.transcribe import transcribe
from sca.data.transcription.whisper import Recognizer, RecognizerOptions
from sca.timeline import ComedianEvent, Show, read_shows
from tests.helpers.word_errors import errors, words_of

LINES = (
    "I told her she could stay with us until she feels better.",
    "Exactly!",
    "So the doctor looks at my chart and he says we have to talk.",
    "Okay.",
    "That is what my wife said before she left with the car.",
    "Absolutely.",
    "My grandmother used to say that if you wait long enough everything becomes a story.",
    "Thank you for calling.",
    "Seriously?",
    "We tried the new restaurant on the corner and it was terrible.",
)
OLD_LETTERS_PER_S = 25.0


def with_old_guard(show: Show) -> list[str]:
    """Return the words that the guard of 25 letters a second left."""
    words = [RecognizedWord(f" {word.word}", word.start, word.end, word.probability or 0.0) for word in show.words]
    kept = []
    for phrase in phrases(words):
        if len(text_of(phrase)) <= OLD_LETTERS_PER_S * (phrase[-1].end - phrase[0].start):
            kept += words_of(text_of(phrase))
    return kept


def measure(show: Show, truth: Sequence[str], words_per_minute: int) -> dict[str, object]:
    recognized = words_of(" ".join(word.word for word in show.words))
    timeline = [event for event in show.timeline if event.role == "comedian"]
    certain = words_of(" ".join(event.content for event in timeline if event.event_type == "speech"))
    unsure = words_of(" ".join(event.content for event in timeline if event.event_type == "unsure"))
    before = with_old_guard(show)
    return {
        "words_per_minute": words_per_minute,
        "words": len(truth),
        "recognized": len(recognized),
        "wer_before": round(errors(truth, before) / len(truth), 4),
        "wer_certain": round(errors(truth, certain) / len(truth), 4),
        "wer_recognized": round(errors(truth, recognized) / len(truth), 4),
        "lost_before": len(recognized) - len(before),
        "lost": len(recognized) - len(certain) - len(unsure),
        "unsure": len(unsure),
    }


def measure_reactions(folder: Path, recognizer: Recognizer, detector: str, save_file: Path) -> dict[str, object]:
    """Transcribe a set with a detector; return the event scores and the word errors."""
    transcribe(
        [folder / "sounds"],
        save_file,
        recognizer.options,
        reactions=detector,
        captions="none",
        recognizer=recognizer,
    )
    found, truth = (read_timelines(path).shows for path in (save_file, folder / "truth.jsonl"))
    scores = {}
    for tolerance_s in (0.5, 1.0):
        result = compare(found, truth, collar_s=tolerance_s)
        counts = {**result.classes, "any": result.any}
        scores[f"f1_{tolerance_s:g}s"] = {
            name: None if (f1 := one.measures()["f1"]) is None else round(f1, 3) for name, one in counts.items()
        }
    wrong = words = invented = 0
    for name, show in truth.items():
        said = words_of(spoken(show))
        wrong += errors(said, words_of(spoken(found[name])))
        words += len(said)
        invented += sum(
            len(words_of(event.content)) for event in certain_events(found[name]) if far_from_speech(event, show)
        )
    used = next(iter(found.values())).reactions
    return {"detector": detector, "used": used, **scores, "wer_certain": round(wrong / words, 4), "invented": invented}


def certain_events(show: Show) -> list[ComedianEvent]:
    return [event for event in show.timeline if isinstance(event, ComedianEvent) and event.event_type == "speech"]


def spoken(show: Show) -> str:
    return " ".join(event.content for event in certain_events(show))


def far_from_speech(event: ComedianEvent, truth: Show) -> bool:
    return all(event.end < line.start - 0.5 or event.start > line.end + 0.5 for line in certain_events(truth))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="whisper-tiny-en")
    parser.add_argument("--rates", type=int, nargs="*", default=[160, 240, 320])
    parser.add_argument("--reactions", type=Path, metavar="FOLDER")
    parser.add_argument("--detectors", nargs="+", default=["none", "energy", "auto"])
    given = parser.parse_args()
    options = RecognizerOptions(given.model, device="cpu", language="en")
    recognizer = Recognizer(options)
    truth = words_of(" ".join(LINES))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for rate in given.rates:
            command = [
                "espeak-ng",
                "-v",
                "en-us",
                "-s",
                str(rate),
                "-w",
                str(folder / f"{rate:04}.wav"),
                "\n".join(LINES),
            ]
            subprocess.run(command, check=True)
        lines = folder / "lines.jsonl"
        if given.rates:
            transcribe([folder], lines, options, reactions="none", recognizer=recognizer)
        shows = [show for _, show in read_shows(lines) if isinstance(show, Show)] if given.rates else []
        rows = [measure(show, truth, int(show.video_id)) for show in shows]
        reactions = [
            measure_reactions(given.reactions, recognizer, detector, folder / f"{detector}.jsonl")
            for detector in (given.detectors if given.reactions else ())
        ]
    result = {"bench": "transcribe_quality", "model": given.model, "voice": "espeak-ng en-us", "rates": rows}
    print(json.dumps(result | ({"reactions": reactions} if reactions else {})))


if __name__ == "__main__":
    main()
