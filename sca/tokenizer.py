"""Text to token ids and back: one wrapper around `tokenizers`, filled from a folder, from a hub, or from `builtin:qwen`.

`builtin:qwen` is the real Qwen vocabulary (151643 ranks) with the control tokens of Qwen3-Omni, built from the rank file that
ships inside the dashscope package, so that it needs no network; it is kept on disk once built. Knows nothing of grids or
what a token id is used for. The one subtle thing it guarantees: `encode` never makes a control token out of text that merely
looks like one.

Long because it is three things behind one function, in this order: the wrapper, the build of Qwen, folders and hubs.
"""

import base64
import hashlib
import json
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE

from sca.errors import InputError, MissingToolError, UpstreamError

__all__ = ["BUILTIN_QWEN", "TextTokenizer", "default_cache_dir", "load_tokenizer", "system_turn"]

log = logging.getLogger(__name__)

BUILTIN_QWEN = "builtin:qwen"

# --- the Qwen vocabulary ----------------------------------------------------------------------------------------------------

_VOCABULARY_SHA256 = "b2b1b8dfb5cc5f024bafc373121c6aba3f66f9a5a0269e243470a1de16a33186"
_BUILDER = 1  # raise when the build changes; old cache files are then left alone and new ones made
# The fingerprint of what the builder makes, so that nobody has to compute it; tests/unit/test_tokenizer.py recomputes it.
_BUILTIN_FINGERPRINT = "9521b86c17270916de57ed2bebe6e045c1735b4464f8aa84cb728aad5a6a688c"
# Source: `pat_str` of Qwen's own tokenization_qwen.py, the same in every Qwen generation.
_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# Ids 151643 and on. Source: tokenizer_config.json of Qwen3 (to 151668) and Qwen3-Omni-30B-A3B (to 151675).
# fmt: off
_SPECIAL_TOKENS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>", "<|box_end|>",
    "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>",
    "<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>", "<|repo_name|>",
    "<|file_sep|>", "<tool_response>", "</tool_response>", "<think>", "</think>",
    "<|audio_start|>", "<|audio_end|>", "<tts_pad>", "<tts_text_bos>", "<tts_text_eod>", "<tts_text_bos_single>", "<|audio_pad|>",
)
# fmt: on
# Added tokens that Qwen does not mark special: they are parsed all the same, but `skip_special_tokens` keeps them.
_NOT_MARKED_SPECIAL = frozenset(_SPECIAL_TOKENS[14:26])

# --- folders and hubs -------------------------------------------------------------------------------------------------------

# Any one line of these is enough to make a tokenizer.
_ENOUGH = (
    ("tokenizer.json",),
    ("vocab.json", "merges.txt"),
    ("vocab.txt",),
    ("tokenizer.model",),
    ("spiece.model",),
    ("sentencepiece.bpe.model",),
    ("tekken.json",),
)
_WANTED = (
    *(name for names in _ENOUGH for name in names),
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "config.json",
)
_HUB_TIMEOUT_S = 10.0


def load_tokenizer(model_path: str, *, revision: str | None = None, cache_dir: Path | None = None) -> "TextTokenizer":
    """Load the tokenizer of a model.

    model_path: `builtin:qwen`, a folder, or a hub id.   revision: branch, tag or commit, for hub ids; with none a copy in the
    local Hugging Face cache is taken as it is, and the hub is only asked when there is none.   cache_dir: where the built
    `builtin:qwen` is kept, by default `default_cache_dir()`; one that cannot be written to is no error.

    Raises `MissingToolError` (dashscope's vocabulary is missing or another one), `InputError` (a folder lacks a file or holds
    something else than a fast tokenizer) and `UpstreamError` (the hub does not answer, does not know the id or does not give it).
    """
    if model_path == BUILTIN_QWEN:
        return TextTokenizer(_builtin(cache_dir), BUILTIN_QWEN, _builtin_cache=cache_dir)
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
        return TextTokenizer(_from_folder(folder, str(folder)), model_path)
    if folder.exists():
        raise InputError(f"{model_path} is a file; a tokenizer is a folder, a hub id or {BUILTIN_QWEN}")
    if model_path.startswith((".", "/", "~")) or model_path.count("/") > 1:
        raise InputError(
            f"there is no folder {model_path}",
            hint=f"give a folder, a hub id such as Qwen/Qwen3-0.6B, or {BUILTIN_QWEN}",
        )
    return TextTokenizer(_from_folder(_from_hub(model_path, revision), model_path), model_path)


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
        path.write_bytes(_serialized(self._full))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over vocabulary, merges and added tokens: equal for equal tokenizers, wherever they were loaded from."""
        if self.name == BUILTIN_QWEN:
            return _BUILTIN_FINGERPRINT
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


def _fingerprint(tokenizer: Tokenizer) -> str:
    # From the content, not from the JSON text, whose layout changes with the version of tokenizers.
    model = json.loads(tokenizer.to_str())["model"]
    vocabulary = model.get("vocab", [])
    if isinstance(vocabulary, Mapping):
        vocabulary = sorted(vocabulary.items(), key=lambda item: item[1])
    merges = [merge.split(" ", 1) if isinstance(merge, str) else merge for merge in model.get("merges", [])]
    added = [[i, token.content, token.special] for i, token in sorted(tokenizer.get_added_tokens_decoder().items())]
    return hashlib.sha256(json.dumps([model.get("type"), vocabulary, merges, added]).encode()).hexdigest()


# --- building Qwen ----------------------------------------------------------------------------------------------------------


def _builtin(cache_dir: Path | None) -> Tokenizer:
    """The cached build, or a new one, which is then cached if that is possible."""
    try:
        folder = default_cache_dir() if cache_dir is None else cache_dir
    except RuntimeError:  # no home directory, so nowhere to keep it
        return _build_qwen()
    # The name holds what went in and the hash of what came out, so that a damaged file is known without trusting its content.
    stem = f"qwen-{_VOCABULARY_SHA256[:12]}-{_BUILDER}-"
    cached = _read_cached(folder, stem)
    if cached is not None:
        return cached
    built = _build_qwen()
    try:
        _write_cached(folder, stem, _serialized(built))
    except OSError as error:
        log.debug("the tokenizer cache %s cannot be written: %s", folder, error)
    return built


def _read_cached(folder: Path, stem: str) -> Tokenizer | None:
    try:
        for path in sorted(folder.glob(f"{stem}*.tokenizer.json")):
            content = path.read_bytes()
            if path.name != _cache_name(stem, content):
                log.debug("the cached tokenizer %s is damaged and will be built again", path)
                continue
            # `tokenizers` raises plain Exception; what this version of it cannot read is built anew.
            with suppress(Exception):
                return Tokenizer.from_buffer(content)
    except OSError as error:
        log.debug("the tokenizer cache %s cannot be read: %s", folder, error)
    return None


def _cache_name(stem: str, content: bytes) -> str:
    return f"{stem}{hashlib.sha256(content).hexdigest()[:16]}.tokenizer.json"


def _write_cached(folder: Path, stem: str, content: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{stem}")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(temporary).replace(folder / _cache_name(stem, content))
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _vocabulary_file() -> Path:
    spec = find_spec("dashscope")
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    if not folders:
        raise MissingToolError(
            f"{BUILTIN_QWEN} is built from a file of the dashscope package, and that is not installed",
            hint='install it: uv sync, or pip install "dashscope>=1.20,<1.21"',
        )
    return Path(folders[0]) / "resources" / "qwen.tiktoken"


def _read_ranks(path: Path) -> dict[str, int]:
    """The rank file as `{token: rank}`, bytes spelled in the letters of byte-level BPE; ranks ascend."""
    hint = 'install the release it was checked with: pip install --force-reinstall "dashscope>=1.20,<1.21"'
    try:
        content = path.read_bytes()
    except OSError as error:
        raise MissingToolError(
            f"{BUILTIN_QWEN} needs {path}, which cannot be read: {error.strerror}", hint=hint
        ) from error
    if hashlib.sha256(content).hexdigest() != _VOCABULARY_SHA256:
        raise MissingToolError(
            f"{path} is not the Qwen vocabulary that {BUILTIN_QWEN} is made of (its SHA-256 differs)", hint=hint
        )
    letters = _byte_letters()
    fields = (line.split() for line in content.splitlines())
    return {base64.b64decode(token).decode("latin-1").translate(letters): int(rank) for token, rank in fields}


def _byte_letters() -> dict[int, str]:
    """The printable stand-in for each byte. Source: `bytes_to_unicode` in openai/gpt-2 `src/encoder.py`."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(others)}


def _merges(ranks: dict[str, int]) -> list[tuple[str, str]]:
    """The merge that makes each token of two letters or more, in the order of rank.

    A rank file names only results. The last merge of a token is the one pair of known tokens that byte-pair encoding would
    itself arrive at when it spells the token.
    """
    halves: dict[str, tuple[str, str]] = {}
    rank_of = ranks.get
    for token, rank in ranks.items():
        for i in range(1, len(token)):
            if rank_of(left := token[:i], rank) >= rank or rank_of(right := token[i:], rank) >= rank:
                continue
            if _stays_apart(ranks, halves, left, right, rank):
                halves[token] = left, right
                break
    return list(halves.values())


def _stays_apart(ranks: dict[str, int], halves: dict[str, tuple[str, str]], left: str, right: str, limit: int) -> bool:
    """Whether byte-pair encoding finishes `left` and `right` before it joins anything across the border between them.

    Takes both apart again in the reverse order of their merges (the higher rank was made last; of equals the right one, since
    merging goes from the left) and looks whether a join across the border would have come first. Source: `is_valid_token_pair`
    in github/rust-gems `crates/bpe/src/byte_pair_encoding.rs`.
    """
    while True:
        if ranks.get(left + right, limit) < limit:
            return False
        if left in halves and (right not in halves or ranks[left] > ranks[right]):
            limit, left = ranks[left], halves[left][1]
        elif right in halves:
            limit, right = ranks[right] + 1, halves[right][0]
        else:
            return True


def _build_qwen() -> Tokenizer:
    """Build the tokenizer from dashscope's rank file."""
    ranks = _read_ranks(_vocabulary_file())
    tokenizer = Tokenizer(BPE(vocab=ranks, merges=_merges(ranks), fuse_unk=False, byte_fallback=False))
    tokenizer.normalizer = normalizers.NFC()
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(_SPLIT), "isolated"), byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.add_tokens(
        [AddedToken(token, normalized=False, special=token not in _NOT_MARKED_SPECIAL) for token in _SPECIAL_TOKENS]
    )
    return tokenizer


def _serialized(tokenizer: Tokenizer) -> bytes:
    """The content of a tokenizer.json that loads fast."""
    content = json.loads(tokenizer.to_str())
    # The older spelling of merges, which every version of tokenizers reads, loads a quarter faster than pairs do.
    content["model"]["merges"] = [" ".join(pair) for pair in content["model"]["merges"]]
    return json.dumps(content, ensure_ascii=False).encode()


# --- folders and hubs -------------------------------------------------------------------------------------------------------


def _from_folder(folder: Path, named: str) -> Tokenizer:
    """The fast tokenizer that transformers makes of a folder; `named` is what the user called it."""
    _check_files(folder, named)
    try:
        with _quiet():
            from transformers import AutoTokenizer

            # Never run code that a model folder brings along, and never ask on the terminal whether to.
            loaded = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except ImportError as error:
        raise MissingToolError(
            f"the tokenizer of {named} needs a package that is not installed: {_line(error)}"
        ) from error
    except Exception as error:  # what a damaged file makes transformers and tokenizers raise has no common class
        raise InputError(f"the tokenizer files of {named} cannot be used: {_line(error)}") from error
    backend = getattr(loaded, "backend_tokenizer", None)
    if not isinstance(backend, Tokenizer):
        raise InputError(
            f"the tokenizer of {named} ({type(loaded).__name__}) has no fast form",
            hint="a model with a tokenizer.json is needed: character offsets exist only there",
        )
    _check_plain_text(backend, named)
    return backend


def _check_files(folder: Path, named: str) -> None:
    # transformers makes an empty Qwen tokenizer, without a word, of a folder with nothing but a config.json.
    present = {path.name for path in folder.iterdir() if path.is_file()}
    if any(present.issuperset(names) for names in _ENOUGH):
        return
    for one, other in (("vocab.json", "merges.txt"), ("merges.txt", "vocab.json")):
        if one in present:
            raise InputError(f"{named} has {one} but no {other}")
    raise InputError(f"{named} holds no tokenizer: it has no tokenizer.json, nor vocab.json with merges.txt")


def _check_plain_text(backend: Tokenizer, named: str) -> None:
    """Refuse a vocabulary whose model itself makes control tokens of text: `encode` could not keep its word."""
    wrapped = TextTokenizer(backend, named)
    if wrapped.vocab_size == len(wrapped.special_ids):
        raise InputError(f"the tokenizer of {named} has no vocabulary besides its control tokens")
    for token_id, token in backend.get_added_tokens_decoder().items():
        if (
            token.special
            and token_id in wrapped.encode(token.content)
            and token.content != getattr(backend.model, "unk_token", None)
        ):
            raise InputError(f"the tokenizer of {named} cannot tell the text {token.content} from its control token")


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:199] + "…"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers and huggingface_hub from writing to stderr: what matters leaves by an exception."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

        loggers = [logging.getLogger(name) for name in ("transformers", "huggingface_hub")]
        # Importing transformers sets its level, so only `disabled` silences the "PyTorch was not found" of its import.
        was_disabled, loggers[0].disabled = loggers[0].disabled, True
        try:
            import transformers  # noqa: F401
        finally:
            loggers[0].disabled = was_disabled
        levels = [logger.level for logger in loggers]
        bars = not are_progress_bars_disabled()
        try:
            for logger in loggers:
                logger.setLevel(logging.CRITICAL)
            disable_progress_bars()
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
            if bars:
                enable_progress_bars()


def _from_hub(model_id: str, revision: str | None, timeout_s: float = _HUB_TIMEOUT_S) -> Path:
    """The folder with the tokenizer files of a hub id: the local cache's, or freshly fetched ones.

    One request with a time limit and no retries asks whether the hub is there at all, so that an unreachable hub is an error in
    seconds; `huggingface_hub` on its own sets no time limit on that request.
    """
    from huggingface_hub import HfApi, errors, hf_hub_download, snapshot_download

    with _quiet():
        try:
            with suppress(errors.LocalEntryNotFoundError):
                cached = Path(
                    snapshot_download(model_id, revision=revision, local_files_only=True, allow_patterns=list(_WANTED))
                )
                with suppress(InputError):
                    _check_files(cached, model_id)
                    return cached
            info = HfApi().model_info(model_id, revision=revision, timeout=timeout_s)
            names = {sibling.rfilename for sibling in info.siblings or ()}
            fetched = {
                # By the name of the revision, not by `info.sha`: only then does the cache remember which commit it stood for.
                Path(hf_hub_download(model_id, name, revision=revision, etag_timeout=timeout_s)).parent
                for name in _WANTED
                if name in names
            }
        except errors.HFValidationError as error:
            raise InputError(
                f"{model_id} is neither a folder nor a hub id", hint=f"{BUILTIN_QWEN} needs no network"
            ) from error
        except Exception as error:  # httpx, huggingface_hub and the OS each have their own; all mean "not from there"
            raise UpstreamError(
                f"cannot get the tokenizer of {model_id}: {_why(error, revision)}; {BUILTIN_QWEN} needs no network"
            ) from error
    if not fetched:
        raise InputError(f"{model_id} holds no tokenizer: it has no tokenizer.json, nor vocab.json with merges.txt")
    if len(fetched) > 1:
        raise UpstreamError(f"{model_id} changed while its tokenizer was being fetched", hint="try again")
    return fetched.pop()


def _why(error: Exception, revision: str | None) -> str:
    from huggingface_hub import errors

    match error:
        case errors.GatedRepoError():
            return "it is gated; accept its terms on its page and log in with `hf auth login`"
        case errors.RevisionNotFoundError():
            return f"it has no revision {revision}"
        case errors.RepositoryNotFoundError():
            return "the hub does not know it, or it is private"
        case errors.OfflineModeIsEnabled():
            return "it is not in the local cache, and HF_HUB_OFFLINE is set"
        case errors.HfHubHTTPError():
            return f"the hub answered {error.response.status_code}"
        case _:
            return f"the hub does not answer ({_line(error)})"
