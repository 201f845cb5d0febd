"""Measure what the guards of `sca transcribe` cost in words, with the earlier guard of 25 letters a second and now.

Conditions: sentences and short answers with exact text, spoken by espeak-ng at each of `--rates` words per minute, one
recording per rate; `--model` on the CPU with word times. "Before" emulates the guard that removed phrases of more than
25 letters a second, on the same recognised words. WER counts replaced, missing and added words against the text;
"lost" are recognised words that are not in the certain text.

    uv run python scripts/bench/transcribe_quality.py [--model whisper-tiny-en] [--rates 160 240 320]
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sca.data.transcription.hallucinations import RecognizedWord, phrases, text_of
from sca.data.transcription.transcribe import transcribe
from sca.data.transcription.whisper import Recognizer, RecognizerOptions
from sca.timeline import Show, read_shows

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


def words_of(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())


def errors(truth: Sequence[str], heard: Sequence[str]) -> int:
    """The smallest number of words that are replaced, left out or added."""
    costs = list(range(len(heard) + 1))
    for n, word in enumerate(truth, 1):
        before, costs[0] = costs[0], n
        for i, other in enumerate(heard, 1):
            before, costs[i] = costs[i], min(before + (word != other), costs[i] + 1, costs[i - 1] + 1)
    return costs[-1]


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="whisper-tiny-en")
    parser.add_argument("--rates", type=int, nargs="+", default=[160, 240, 320])
    given = parser.parse_args()
    options = RecognizerOptions(given.model, device="cpu", language="en")
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
        transcribe([folder], folder / "lines.jsonl", options, reactions="none", recognizer=Recognizer(options))
        shows = [show for _, show in read_shows(folder / "lines.jsonl") if isinstance(show, Show)]
    rows = [measure(show, truth, int(show.video_id)) for show in shows]
    print(json.dumps({"bench": "transcribe_quality", "model": given.model, "voice": "espeak-ng en-us", "rates": rows}))


if __name__ == "__main__":
    main()
