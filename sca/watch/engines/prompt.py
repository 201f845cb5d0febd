"""The text of a request to a model that sees, and the markers in its answer.

A model that knows too little may hand a question on by `<ask>question</ask>`. That needs no support of tools by the server,
and arrives in the stream. Servers of JoyAI-VL begin an answer with `</silence>`, `</response>` or `</delegate>`; the
last one is followed by the question.
"""

from collections.abc import Iterable, Iterator

from sca.watch.engines.base import Density, Question, TextPiece, WatchRequest

__all__ = ["MarkedAnswer", "marked_pieces", "system_text", "user_text"]

_DEFAULT_SYSTEM = "You comment on a live video. Your words are spoken. Describe only what you see."
_LENGTHS: dict[Density, str] = {
    "minimal": "Use a few words.",
    "brief": "Use one sentence.",
    "normal": "Use one to three sentences.",
}
_SILENCE = 'If nothing new happens, answer only "...".'
_ASK = (
    "If you need a fact that the pictures do not show, write <ask>your question</ask> and go on; the answer comes with a later "
    "request."
)

_OPEN, _CLOSE = "<ask>", "</ask>"
_SILENT, _RESPONSE, _DELEGATE = "</silence>", "</response>", "</delegate>"
_MARKERS = (_OPEN, _SILENT, _RESPONSE, _DELEGATE)
_LONGEST_QUESTION = 500


def system_text(request: WatchRequest, *, asks: bool = True) -> str:
    """Return the system prompt.

    Args:
        request: The request.
        asks: Whether the model may hand questions on.
    """
    return "\n".join([request.system or _DEFAULT_SYSTEM, _SILENCE, *([_ASK] if asks else [])])


def user_text(request: WatchRequest) -> str:
    """Return the text after the pictures: the instruction, the length, the last answer and new facts."""
    lines = [request.instruction or "Comment on what happens.", _LENGTHS[request.density]]
    if request.last_answer:
        lines.append(f"Your last words were: {request.last_answer!r} Do not repeat them.")
    if request.findings:
        lines.append("Answers to your questions, to use where they fit:")
        lines += [f"- {finding}" for finding in request.findings]
    return "\n".join(lines)


class MarkedAnswer:
    """The text of an answer that arrives in parts, and the questions in it."""

    def __init__(self) -> None:
        self._rest, self._is_question = "", False

    def add(self, text: str) -> Iterator[TextPiece | Question]:
        """Add a part of any length; yield the pieces that are complete."""
        self._rest += text
        while self._rest:
            if self._is_question:
                if _CLOSE not in self._rest and len(self._rest) <= _LONGEST_QUESTION:
                    return
                question, _, self._rest = self._rest.partition(_CLOSE)
                self._is_question = False
                yield from _question(question)
                continue
            start = self._rest.find("<")
            if start != 0:
                plain = self._rest if start < 0 else self._rest[:start]
                self._rest = self._rest[len(plain) :]
                yield TextPiece(plain)
                continue
            marker = next((one for one in _MARKERS if self._rest.startswith(one)), None)
            if marker is None:
                if any(one.startswith(self._rest) for one in _MARKERS):
                    return  # perhaps a marker that is not complete yet
                plain, self._rest = "<", self._rest[1:]
                yield TextPiece(plain)
                continue
            self._rest = self._rest.removeprefix(marker)
            self._is_question = marker in (_OPEN, _DELEGATE)

    def end(self) -> Iterator[TextPiece | Question]:
        """Yield what is left at the end of the answer."""
        rest, self._rest = self._rest, ""
        if self._is_question:
            yield from _question(rest)
        elif rest:
            yield TextPiece(rest)
        self._is_question = False


def marked_pieces(parts: Iterable[str]) -> Iterator[TextPiece | Question]:
    """Yield the pieces of an answer.

    Args:
        parts: The parts of the answer as they arrive.
    """
    answer = MarkedAnswer()
    for part in parts:
        yield from answer.add(part)
    yield from answer.end()


def _question(text: str) -> Iterator[Question]:
    text = " ".join(text.split())[:_LONGEST_QUESTION]
    if text:
        yield Question(text)
