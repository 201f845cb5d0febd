"""Convert text to token ids and back, with a tokenizer from a folder, from the hub, or `builtin:qwen`.

`builtin:qwen` is the real Qwen vocabulary (151643 ranks) with the control tokens of Qwen3-Omni. It is built from the
rank file in the dashscope package, so it needs no network, and is cached on disk. `TextTokenizer.encode` never produces
a control token from text that only looks like one.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from sca.errors import InputError
from sca.tokenizer.pretrained import from_folder, from_hub
from sca.tokenizer.qwen_vocab import BUILTIN_QWEN, FINGERPRINT, builtin_qwen, serialized

__all__ = ["BUILTIN_QWEN", "TextTokenizer", "default_cache_dir", "load_tokenizer", "system_turn"]


def load_tokenizer(model_path: str, *, revision: str | None = None, cache_dir: Path | None = None) -> "TextTokenizer":
    """Load the tokenizer of a model.

    Args:
        model_path: `builtin:qwen`, a folder, or a hub id.
        revision: Branch, tag or commit of a hub id. Without one, a copy in the local Hugging Face cache is used, and
            the hub is contacted only if the cache does not have a copy.
        cache_dir: Folder in which the built `builtin:qwen` is cached, by default `default_cache_dir()`. A folder that
            cannot be written to is not an error.

    Returns:
        The tokenizer.

    Raises:
        MissingToolError: The vocabulary file of dashscope is missing or has different content.
        InputError: The folder lacks a file, or does not contain a fast tokenizer.
        UpstreamError: The hub does not respond, does not have the id, or denies access.

    Example:
        >>> tokenizer = load_tokenizer("builtin:qwen")
        >>> tokenizer.encode("Hello")
        [9707]
    """
    if model_path == BUILTIN_QWEN:
        return TextTokenizer(builtin_qwen(_cache_folder(cache_dir)), BUILTIN_QWEN, _builtin_cache=cache_dir)
    if model_path.startswith("builtin:"):
        raise InputError(f"the tokenizer {model_path} does not exist", hint=f"the built-in tokenizer is {BUILTIN_QWEN}")
    if not model_path:
        raise InputError(
            "the name of the tokenizer is empty",
            hint=f"give a folder, a hub id such as Qwen/Qwen3-0.6B, or {BUILTIN_QWEN}",
        )
    folder = Path(model_path)
    with suppress(RuntimeError):  # `~name` of a user that does not exist
        folder = folder.expanduser()
    if folder.is_dir():
        return _of_files(folder, str(folder), model_path)
    if folder.exists():
        raise InputError(f"{model_path} is a file; a tokenizer is a folder, a hub id or {BUILTIN_QWEN}")
    if model_path.startswith((".", "/", "~")) or model_path.count("/") > 1:
        raise InputError(
            f"the folder {model_path} does not exist",
            hint=f"give a folder, a hub id such as Qwen/Qwen3-0.6B, or {BUILTIN_QWEN}",
        )
    return _of_files(from_hub(model_path, revision), model_path, model_path)


class TextTokenizer:
    """A tokenizer whose `encode` treats all text as ordinary text.

    Text should be in Unicode normalization form C; some tokenizers, such as that of Qwen, normalize it themselves.
    Pickling stores `builtin:qwen` by name and every other tokenizer with its vocabulary.

    Attributes:
        name: The name under which the tokenizer was loaded.
        vocab_size: Number of tokens, added tokens included.
        special_ids: Ids of the added tokens.
    """

    def __init__(self, tokenizer: Tokenizer, name: str, *, _builtin_cache: Path | None = None) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self.name = name
        self._full = tokenizer
        self._builtin_cache = _builtin_cache
        # `Tokenizer.encode_special_tokens` covers only added tokens that are marked special, so `<think>` would still
        # be encoded as a control token. The same model without added tokens cannot do that. The model is shared, not
        # copied.
        self._plain = Tokenizer(tokenizer.model)
        if tokenizer.normalizer is not None:
            self._plain.normalizer = tokenizer.normalizer
        if tokenizer.pre_tokenizer is not None:
            self._plain.pre_tokenizer = tokenizer.pre_tokenizer
        self.vocab_size: int = tokenizer.get_vocab_size(with_added_tokens=True)
        self.special_ids: frozenset[int] = frozenset(tokenizer.get_added_tokens_decoder())

    def __repr__(self) -> str:
        return f"TextTokenizer({self.name!r}, vocab_size={self.vocab_size})"

    def __reduce__(self) -> tuple[object, ...]:
        if self.name == BUILTIN_QWEN:
            return _reload_builtin, (self._builtin_cache,)
        return _restore, (self._full.to_str(), self.name)

    def encode(self, text: str) -> list[int]:
        """Encode text. Control tokens in it, such as `<|im_end|>` or `<think>`, are encoded letter by letter.

        Raises:
            InputError: The text contains half of a surrogate pair, which is not valid Unicode.
        """
        ids: list[int] = _encoding(self._plain, text).ids
        return ids

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Encode text and locate each token in it.

        Returns:
            The ids, and for each id the `(start, end)` range of its characters. Tokens that share a character (the
            bytes of an emoji) each cover all of it. A leading space belongs to the token that follows it.

        Raises:
            InputError: The text contains half of a surrogate pair.
        """
        encoding = _encoding(self._plain, text)
        return encoding.ids, encoding.offsets

    def encode_with_specials(self, text: str) -> list[int]:
        """Encode text and parse control tokens in it. For our own prompts only, never for transcripts or user input."""
        ids: list[int] = _encoding(self._full, text).ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Decode ids, control tokens included. Bytes that do not form a whole character become U+FFFD."""
        text: str = self._full.decode(list(ids), skip_special_tokens=False)
        return text

    def token_to_id(self, token: str) -> int | None:
        """Return the id of a token in the spelling of the vocabulary (a space is `Ġ`), or None if it does not exist."""
        token_id: int | None = self._full.token_to_id(token)
        return token_id

    def id_to_token(self, token_id: int) -> str | None:
        """Return the token of an id in the spelling of the vocabulary, or None if it does not exist."""
        token: str | None = self._full.id_to_token(token_id)
        return token

    def save(self, path: Path) -> None:
        """Write the tokenizer as a `tokenizer.json` file."""
        path.write_bytes(serialized(self._full))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the vocabulary, merges and added tokens. Equal tokenizers have equal fingerprints."""
        if self.name == BUILTIN_QWEN:
            return FINGERPRINT
        return _fingerprint(self._full)


def system_turn(tokenizer: TextTokenizer, text: str) -> tuple[int, ...]:
    """Encode a system prompt as the system turn of a Qwen chat. Training rows and live sessions begin with it.

    Returns:
        The ids; empty if `text` is empty.
    """
    return tuple(tokenizer.encode_with_specials(f"<|im_start|>system\n{text}<|im_end|>\n")) if text else ()


def default_cache_dir() -> Path:
    """Return `$XDG_CACHE_HOME/sca`, or `~/.cache/sca` if the variable is not set."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification: a relative path is to be ignored.
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "sca"


def _encoding(tokenizer: Tokenizer, text: str) -> Any:
    try:
        return tokenizer.encode(text, add_special_tokens=False)
    except TypeError as error:
        if not isinstance(text, str):
            raise
        raise InputError("the text contains half of a surrogate pair, which is not a character") from error


def _reload_builtin(cache_dir: Path | None) -> TextTokenizer:
    return load_tokenizer(BUILTIN_QWEN, cache_dir=cache_dir)


def _restore(content: str, name: str) -> TextTokenizer:
    return TextTokenizer(Tokenizer.from_str(content), name)


def _of_files(folder: Path, named: str, name: str) -> TextTokenizer:
    """Load the tokenizer of a folder.

    A vocabulary that itself encodes text as control tokens is rejected, because `encode` must not do that.

    Args:
        folder: The folder.
        named: What messages call it.
        name: The name of the tokenizer.
    """
    backend = from_folder(folder, named)
    loaded = TextTokenizer(backend, name)
    if loaded.vocab_size == len(loaded.special_ids):
        raise InputError(f"the tokenizer of {named} has no vocabulary except control tokens")
    for token_id, token in backend.get_added_tokens_decoder().items():
        if (
            token.special
            and token_id in loaded.encode(token.content)
            and token.content != getattr(backend.model, "unk_token", None)
        ):
            raise InputError(
                f"the tokenizer of {named} cannot distinguish the text {token.content} from its control token"
            )
    return loaded


def _cache_folder(cache_dir: Path | None) -> Path | None:
    try:
        return default_cache_dir() if cache_dir is None else cache_dir
    except RuntimeError:  # without a home directory there cannot be a cache
        return None


def _fingerprint(tokenizer: Tokenizer) -> str:
    # The layout of the JSON text changes with the version of tokenizers, so the content is hashed.
    model = json.loads(tokenizer.to_str())["model"]
    vocabulary = model.get("vocab", [])
    if isinstance(vocabulary, Mapping):
        vocabulary = sorted(vocabulary.items(), key=lambda item: item[1])
    merges = [merge.split(" ", 1) if isinstance(merge, str) else merge for merge in model.get("merges", [])]
    added = [[i, token.content, token.special] for i, token in sorted(tokenizer.get_added_tokens_decoder().items())]
    return hashlib.sha256(json.dumps([model.get("type"), vocabulary, merges, added]).encode()).hexdigest()
