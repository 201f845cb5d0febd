"""Text to token ids and back: one wrapper around `tokenizers`, filled from a folder, from a hub, or from `builtin:qwen`.

`builtin:qwen` is the real Qwen vocabulary (151643 ranks) with the control tokens of Qwen3-Omni, built from the rank file that
ships inside the dashscope package, so that it needs no network; it is kept on disk once built. Knows nothing of grids or
what a token id is used for. The one subtle thing it guarantees: `encode` never makes a control token out of text that merely
looks like one.
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

    model_path: `builtin:qwen`, a folder, or a hub id.   revision: branch, tag or commit, for hub ids; with none a copy in the
    local Hugging Face cache is taken as it is, and the hub is only asked when there is none.   cache_dir: where the built
    `builtin:qwen` is kept, by default `default_cache_dir()`; one that cannot be written to is no error.

    Raises `MissingToolError` (dashscope's vocabulary is missing or another one), `InputError` (a folder lacks a file or holds
    something else than a fast tokenizer) and `UpstreamError` (the hub does not answer, does not know the id or does not give it).
    """
    if model_path == BUILTIN_QWEN:
        return TextTokenizer(builtin_qwen(_cache_folder(cache_dir)), BUILTIN_QWEN, _builtin_cache=cache_dir)
    if model_path.startswith("builtin:"):
        raise InputError(f"there is no tokenizer {model_path}", hint=f"the one built in is {BUILTIN_QWEN}")
    if not model_path:
        raise InputError(
            "no tokenizer is named", hint=f"give a folder, a hub id such as Qwen/Qwen3-0.6B, or {BUILTIN_QWEN}"
        )
    folder = Path(model_path)
    with suppress(RuntimeError):  # `~somebody` who is not there
        folder = folder.expanduser()
    if folder.is_dir():
        return _of_files(folder, str(folder), model_path)
    if folder.exists():
        raise InputError(f"{model_path} is a file; a tokenizer is a folder, a hub id or {BUILTIN_QWEN}")
    if model_path.startswith((".", "/", "~")) or model_path.count("/") > 1:
        raise InputError(
            f"there is no folder {model_path}",
            hint=f"give a folder, a hub id such as Qwen/Qwen3-0.6B, or {BUILTIN_QWEN}",
        )
    return _of_files(from_hub(model_path, revision), model_path, model_path)


class TextTokenizer:
    """A vocabulary with its rules. Text is expected in NFC; the wrapped tokenizer may bring other text into it (Qwen does).

    Pickles small: `builtin:qwen` by name, anything else with its vocabulary.
    """

    def __init__(self, tokenizer: Tokenizer, name: str, *, _builtin_cache: Path | None = None) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self.name = name
        self._full = tokenizer
        self._builtin_cache = _builtin_cache
        # `Tokenizer.encode_special_tokens` covers only added tokens marked special: `<think>` would stay a control token. The same
        # model without any added tokens cannot make one. The model is shared, not copied.
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
        """Ids of `text`, all of it taken as ordinary text: `<|im_end|>` or `<think>` in it become letters, not control tokens.

        Raises `InputError` for text that is no Unicode (half a surrogate pair).
        """
        ids: list[int] = _encoding(self._plain, text).ids
        return ids

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Like `encode`, and for each id the `(start, end)` characters of `text` it stands for.

        Tokens that share a character (the bytes of an emoji) each cover all of it. A leading space belongs to its token.
        """
        encoding = _encoding(self._plain, text)
        return encoding.ids, encoding.offsets

    def encode_with_specials(self, text: str) -> list[int]:
        """Ids of `text` with control tokens parsed: for prompts written by us, never for what somebody said."""
        ids: list[int] = _encoding(self._full, text).ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids`, control tokens spelled out, nothing tidied. Bytes that are no whole character become U+FFFD."""
        text: str = self._full.decode(list(ids), skip_special_tokens=False)
        return text

    def token_to_id(self, token: str) -> int | None:
        """Id of a token as the vocabulary spells it (a space is `Ġ`), or None."""
        found: int | None = self._full.token_to_id(token)
        return found

    def id_to_token(self, token_id: int) -> str | None:
        """Token of an id as the vocabulary spells it, or None."""
        found: str | None = self._full.id_to_token(token_id)
        return found

    def save(self, path: Path) -> None:
        """Write it as a `tokenizer.json`."""
        path.write_bytes(serialized(self._full))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over vocabulary, merges and added tokens: equal for equal tokenizers, wherever they were loaded from."""
        if self.name == BUILTIN_QWEN:
            return FINGERPRINT
        return _fingerprint(self._full)


def system_turn(tokenizer: TextTokenizer, text: str) -> tuple[int, ...]:
    """The ids a training row and a live session begin with: `text` as the system's turn of a Qwen chat, or none for no text."""
    return tuple(tokenizer.encode_with_specials(f"<|im_start|>system\n{text}<|im_end|>\n")) if text else ()


def default_cache_dir() -> Path:
    """`$XDG_CACHE_HOME/sca`, or `~/.cache/sca`."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification: a relative path is to be ignored.
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "sca"


def _encoding(tokenizer: Tokenizer, text: str) -> Any:
    try:
        return tokenizer.encode(text, add_special_tokens=False)
    except TypeError as error:
        if not isinstance(text, str):
            raise
        raise InputError("the text holds half of a surrogate pair, and that is not a character") from error


def _reload_builtin(cache_dir: Path | None) -> TextTokenizer:
    return load_tokenizer(BUILTIN_QWEN, cache_dir=cache_dir)


def _restore(content: str, name: str) -> TextTokenizer:
    return TextTokenizer(Tokenizer.from_str(content), name)


def _of_files(folder: Path, named: str, name: str) -> TextTokenizer:
    """The tokenizer of a folder, which the user called `named`.

    Refuses a vocabulary whose model itself makes control tokens of text: `encode` could not keep its word.
    """
    backend = from_folder(folder, named)
    loaded = TextTokenizer(backend, name)
    if loaded.vocab_size == len(loaded.special_ids):
        raise InputError(f"the tokenizer of {named} has no vocabulary besides its control tokens")
    for token_id, token in backend.get_added_tokens_decoder().items():
        if (
            token.special
            and token_id in loaded.encode(token.content)
            and token.content != getattr(backend.model, "unk_token", None)
        ):
            raise InputError(f"the tokenizer of {named} cannot tell the text {token.content} from its control token")
    return loaded


def _cache_folder(cache_dir: Path | None) -> Path | None:
    try:
        return default_cache_dir() if cache_dir is None else cache_dir
    except RuntimeError:  # no home directory, so nowhere to keep it
        return None


def _fingerprint(tokenizer: Tokenizer) -> str:
    # From the content, not from the JSON text, whose layout changes with the version of tokenizers.
    model = json.loads(tokenizer.to_str())["model"]
    vocabulary = model.get("vocab", [])
    if isinstance(vocabulary, Mapping):
        vocabulary = sorted(vocabulary.items(), key=lambda item: item[1])
    merges = [merge.split(" ", 1) if isinstance(merge, str) else merge for merge in model.get("merges", [])]
    added = [[i, token.content, token.special] for i, token in sorted(tokenizer.get_added_tokens_decoder().items())]
    return hashlib.sha256(json.dumps([model.get("type"), vocabulary, merges, added]).encode()).hexdigest()
