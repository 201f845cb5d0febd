"""sca: training data for full-duplex speech models, and a live loop that runs them, on one grid of 0.32 s.

The public names are listed in `__all__` and described in docs/api.md. They are imported on first use, so `import sca`
is cheap.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from sca.distribution import __version__

if TYPE_CHECKING:
    from sca.api import build, export, read_corpus, synthesize, transcribe, verify
    from sca.config import Settings, load_settings
    from sca.data.corpora.base import Conversation, Issue
    from sca.data.duplex.load.dataset import load
    from sca.data.duplex.load.stream import DuplexRows
    from sca.data.duplex.verify.check_table import Verification
    from sca.data.easy_load import easy_load
    from sca.data.runs.summary import RunSummary
    from sca.errors import ScaError
    from sca.infer.conversation.streaming import StreamingConversation, StreamingConversationalChatbot
    from sca.infer.engine import Engine
    from sca.infer.engines.registry import load_engine
    from sca.infer.recognition.whisper import StreamingRecognizer, StreamingWhisperASR
    from sca.infer.runners.array import run_engine
    from sca.infer.session.loop import LiveSession
    from sca.tokenizer import TextTokenizer, load_tokenizer
    from sca.units import Grid

_MODULES = {
    "Conversation": "sca.data.corpora.base",
    "DuplexRows": "sca.data.duplex.load.stream",
    "Engine": "sca.infer.engine",
    "Grid": "sca.units",
    "Issue": "sca.data.corpora.base",
    "LiveSession": "sca.infer.session.loop",
    "RunSummary": "sca.data.runs.summary",
    "ScaError": "sca.errors",
    "Settings": "sca.config",
    "StreamingConversation": "sca.infer.conversation.streaming",
    "StreamingConversationalChatbot": "sca.infer.conversation.streaming",
    "StreamingRecognizer": "sca.infer.recognition.whisper",
    "StreamingWhisperASR": "sca.infer.recognition.whisper",
    "TextTokenizer": "sca.tokenizer",
    "Verification": "sca.data.duplex.verify.check_table",
    "build": "sca.api",
    "easy_load": "sca.data.easy_load",
    "export": "sca.api",
    "load": "sca.data.duplex.load.dataset",
    "load_engine": "sca.infer.engines.registry",
    "load_settings": "sca.config",
    "load_tokenizer": "sca.tokenizer",
    "read_corpus": "sca.api",
    "run_engine": "sca.infer.runners.array",
    "synthesize": "sca.api",
    "transcribe": "sca.api",
    "verify": "sca.api",
}
"""The module of each public name."""

__all__ = [
    "Conversation",
    "DuplexRows",
    "Engine",
    "Grid",
    "Issue",
    "LiveSession",
    "RunSummary",
    "ScaError",
    "Settings",
    "StreamingConversation",
    "StreamingConversationalChatbot",
    "StreamingRecognizer",
    "StreamingWhisperASR",
    "TextTokenizer",
    "Verification",
    "__version__",
    "build",
    "easy_load",
    "export",
    "load",
    "load_engine",
    "load_settings",
    "load_tokenizer",
    "read_corpus",
    "run_engine",
    "synthesize",
    "transcribe",
    "verify",
]


def __getattr__(name: str) -> object:
    if name in _MODULES:
        value: object = getattr(import_module(_MODULES[name]), name)
        return value
    raise AttributeError(f"module 'sca' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
