"""Scripts that a language model writes, kept as files, so that a second run speaks the same scripts."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from sca.data.runs.files import atomic_write
from sca.data.runs.owner import SYNTH, ensure_owned_dir
from sca.errors import InputError, UpstreamError, UsageError
from sca.infer.language.base import LanguageModel
from sca.infer.messages import Message
from sca.synth.script import Script, parse_script, read_script
from sca.textutil import counted, one_line

__all__ = ["Request", "write_scripts"]

_FOLDER = Path(".sca") / "scripts"
_PERSONAS = "two friends"
_SYSTEM = """You write scripts of natural spoken conversations between two people.
Answer with JSON lines only: one JSON object on each line, one line for each turn, and nothing else.
{"speaker": "NAME", "text": "what the speaker says"}
A short answer such as "mm hmm" while the other one talks on: add "backchannel": true.
A turn that interrupts the one before it: add "interrupts": true.
A turn that begins a little before the one before it ends: add "overlap": true.
Use exactly two names. Write words as they are spoken, without stage directions and without emoji."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a script is about.

    Attributes:
        topic: The topic.
        personas: Descriptions of the speakers by the user; None leaves them to the model.
        turns: About how many turns.
        model: The name of the model, because another model writes another script.
    """

    topic: str
    personas: str | None
    turns: int
    model: str

    def file_name(self, number: int) -> str:
        """Return the name of a script: equal for equal requests."""
        words = "".join(letter if letter.isalnum() else "-" for letter in self.topic.casefold())
        identity = sha256(repr(self).encode()).hexdigest()[:8]
        return f"{'-'.join(filter(None, words.split('-')))[:40] or 'topic'}-{identity}-{number + 1:04d}.jsonl"


def write_scripts(root: Path, count: int, request: Request, model: LanguageModel, attempts: int) -> list[Script]:
    """Let a language model write scripts. Those that an earlier run has written are read.

    Args:
        root: The folder of the corpus; scripts are in `.sca/scripts`.
        count: How many scripts.
        request: What they are about.
        model: The model. It is called only for scripts that do not exist yet.
        attempts: Answers per script, until one is a script.

    Raises:
        UsageError: The topic is empty.
        UpstreamError: The model does not answer, or none of its answers is a script.
        OutputError: The folder has other files in it, or cannot be written to.
    """
    if not request.topic.strip():
        raise UsageError("the topic is empty", hint='--topic "the weather" is what a script is about')
    ensure_owned_dir(root, SYNTH)
    scripts: list[Script] = []
    for number in range(count):
        path = root / _FOLDER / request.file_name(number)
        if not path.is_file():
            text = _written(request, number, path, model, attempts)
            with atomic_write(path) as temporary:
                temporary.write_text(text, encoding="utf-8", newline="\n")
        scripts.append(read_script(path))
    return scripts


def _written(request: Request, number: int, path: Path, model: LanguageModel, attempts: int) -> str:
    """Return the text of a script. After an answer that is not a script, the model gets the error and tries again."""
    messages = [Message("system", _SYSTEM), Message("user", _prompt(request, number))]
    reason = answer = ""
    for _ in range(attempts):
        answer = "".join(piece for piece in model.reply(messages) if isinstance(piece, str))
        text = "".join(f"{json.dumps(turn, ensure_ascii=False)}\n" for turn in _turns(answer))
        try:
            if not text:
                raise InputError(f"no turns in the answer {answer.strip()[:80]!r}")
            parse_script(text, path.stem, Path("script"))
        except InputError as error:
            reason = error.message
            messages = [*messages[:2], Message("assistant", answer), Message("user", f"{reason}. Write it again.")]
            continue
        return text
    raise UpstreamError(
        f"{model.name} wrote no script in {counted(attempts, 'attempt')}: {one_line(reason)}",
        hint="give another topic or model, or write the script yourself",
    )


def _prompt(request: Request, number: int) -> str:
    variant = f" This is conversation {number + 1} about it; make it different from the others." if number else ""
    return (
        f"Topic: {request.topic}. The speakers: {request.personas or _PERSONAS}. "
        f"Write about {request.turns} turns.{variant}"
    )


def _turns(answer: str) -> Iterator[object]:
    """Yield the JSON objects of an answer. Text around them, and an object that is cut off, are left out."""
    decoder, at = json.JSONDecoder(), answer.find("{")
    while at >= 0:
        try:
            turn, end = decoder.raw_decode(answer, at)
        except ValueError:
            end = at + 1
        else:
            yield from (turn["turns"] if isinstance(turn.get("turns"), list) else [turn])
        at = answer.find("{", end)
