"""Load the language model of the settings: a server at `llm.base_url`, or a model on this machine."""

from pathlib import Path
from typing import TYPE_CHECKING

from sca.config import secret_text
from sca.infer.language.base import LanguageModel
from sca.infer.language.chat_api import ChatApi, ChatServer, chat_url

if TYPE_CHECKING:
    from sca.config import LlmConfig

__all__ = ["load_language_model"]


def load_language_model(llm: "LlmConfig", cache_dir: Path | None = None) -> LanguageModel:
    """Load the model. A server is contacted with the first answer; a local model is started.

    Args:
        llm: The settings.
        cache_dir: The cache folder of fetched models; by default the one of the settings.

    Raises:
        UsageError: `llm.base_url` is not an address.
        ConfigError: The key cannot be sent in an HTTP header.
        ScaError: The local model cannot be started; see `LlamaModel`.
    """
    if llm.base_url is None:
        from sca.infer.language.llama_server import LlamaModel

        return LlamaModel(llm, cache_dir)
    key = secret_text(llm.api_key)
    return ChatApi(ChatServer(chat_url(llm.base_url), key, llm.model), llm)
