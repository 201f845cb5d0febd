"""Questions of the engine to another model: each in a thread, with a time limit, and its answer reported when it is there."""

import threading
from collections.abc import Callable

from sca.config import LlmConfig, Settings
from sca.errors import ScaError
from sca.infer.language.base import LanguageModel
from sca.infer.language.registry import load_language_model
from sca.infer.messages import Message, ReplyOptions
from sca.infer.speech.clauses import MAX_UNIT_CHARS

__all__ = ["Delegate", "delegate_of"]

_PROMPT = (
    "A commentator on a live video asks you for facts. Answer in one or two short sentences that can be spoken. If you do "
    "not know it, say so."
)
_MAX_TOKENS = 120
_MAX_CHARS = 4 * MAX_UNIT_CHARS


def delegate_of(settings: Settings, report: Callable[[str | None, ScaError | None], None]) -> "Delegate | None":
    """Return the second model of the settings; None without one.

    Args:
        settings: The sections `watch` and `llm`.
        report: Receives an answer, or the error, in another thread.

    Raises:
        UsageError: The address is not one.
        ConfigError: The key cannot be sent in an HTTP header.
    """
    watch = settings.watch
    llm = settings.llm
    if watch.delegate_base_url is not None:
        llm = LlmConfig(base_url=watch.delegate_base_url, api_key=watch.delegate_api_key, model=watch.delegate_model)
    if llm.base_url is None:
        return None
    limit_s = watch.delegate_timeout_s
    times = {
        "answer_timeout_s": limit_s,
        "first_token_timeout_s": min(limit_s, llm.first_token_timeout_s),
        "stall_timeout_s": min(limit_s, llm.stall_timeout_s),
    }
    return Delegate(load_language_model(llm.model_copy(update=times)), report)


class Delegate:
    """A second model that answers questions.

    Args:
        model: The model.
        report: Receives an answer, or the error, in another thread.
    """

    def __init__(self, model: LanguageModel, report: Callable[[str | None, ScaError | None], None]) -> None:
        self._model, self._report = model, report

    def ask(self, question: str) -> None:
        """Ask a question; does not wait for the answer."""
        threading.Thread(target=self._ask, args=(question,), name="sca watch question", daemon=True).start()

    def _ask(self, question: str) -> None:
        try:
            messages = [Message("system", _PROMPT), Message("user", question[:_MAX_CHARS])]
            pieces = self._model.reply(messages, options=ReplyOptions(_MAX_TOKENS))
            text = "".join(piece for piece in pieces if isinstance(piece, str)).strip()
        except ScaError as error:
            self._report(None, error)
        else:
            self._report(text[:_MAX_CHARS] or None, None)

    def close(self) -> None:
        """Close the model; an answer in progress fails."""
        self._model.close()
