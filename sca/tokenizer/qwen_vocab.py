"""The vocabulary of Qwen3-Omni, built from the rank file in the dashscope package and cached on disk."""

import base64
import hashlib
import json
import logging
import os
import tempfile
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE

from sca.distribution import install_packages
from sca.errors import MissingToolError
from sca.files.atomic import publish

__all__ = ["BUILTIN_QWEN", "FINGERPRINT", "SPECIAL_TOKENS", "builtin_qwen", "serialized"]

log = logging.getLogger(__name__)

BUILTIN_QWEN = "builtin:qwen"

_PACKAGE = "dashscope>=1.20,<1.21"
_VOCABULARY_SHA256 = "b2b1b8dfb5cc5f024bafc373121c6aba3f66f9a5a0269e243470a1de16a33186"
_BUILDER = 1  # increment when the build changes: new cache files get new names
# The fingerprint of the built tokenizer, so that it need not be computed. tests/unit/test_tokenizer.py recomputes it.
FINGERPRINT = "9521b86c17270916de57ed2bebe6e045c1735b4464f8aa84cb728aad5a6a688c"
# Source: `pat_str` of Qwen's own tokenization_qwen.py, the same in every Qwen generation.
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# Ids 151643 and on. Source: tokenizer_config.json of Qwen3 (to 151668) and Qwen3-Omni-30B-A3B (to 151675).
# fmt: off
SPECIAL_TOKENS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>", "<|box_end|>",
    "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>",
    "<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>", "<|repo_name|>",
    "<|file_sep|>", "<tool_response>", "</tool_response>", "<think>", "</think>",
    "<|audio_start|>", "<|audio_end|>", "<tts_pad>", "<tts_text_bos>", "<tts_text_eod>", "<tts_text_bos_single>", "<|audio_pad|>",
)
# fmt: on
# Added tokens that Qwen does not mark as special: they are parsed, but `skip_special_tokens` keeps them.
_NOT_MARKED_SPECIAL = frozenset(SPECIAL_TOKENS[14:26])


def builtin_qwen(folder: Path | None) -> Tokenizer:
    """Return the tokenizer, from the cache if possible.

    Args:
        folder: The cache folder; None to build without a cache.

    Raises:
        MissingToolError: The rank file of dashscope is missing, unreadable or different.
    """
    if folder is None:
        return _build()
    # The file name contains the hash of the input and of the output, so a damaged file is detected before it is parsed.
    stem = f"qwen-{_VOCABULARY_SHA256[:12]}-{_BUILDER}-"
    cached = _read_cached(folder, stem)
    if cached is not None:
        return cached
    built = _build()
    try:
        _write_cached(folder, stem, serialized(built))
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
            # `tokenizers` raises plain Exception. A file that this version cannot read is built again.
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
        publish(Path(temporary), folder / _cache_name(stem, content))
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def vocabulary_file() -> Path:
    """Return the path of the rank file in the dashscope package."""
    spec = find_spec("dashscope")
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    if not folders:
        raise MissingToolError(
            f"{BUILTIN_QWEN} is built from a file of the dashscope package, which is not installed",
            hint=f"install it: {install_packages(_PACKAGE)}",
        )
    return Path(folders[0]) / "resources" / "qwen.tiktoken"


def read_ranks(path: Path) -> dict[str, int]:
    """Read the rank file as `{token: rank}` in ascending order of rank, bytes in the letters of byte-level BPE."""
    hint = f"install the tested release: {install_packages(_PACKAGE)}"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise MissingToolError(
            f"{BUILTIN_QWEN} needs {path}, which cannot be read: {error.strerror}", hint=hint
        ) from error
    if hashlib.sha256(content).hexdigest() != _VOCABULARY_SHA256:
        raise MissingToolError(
            f"{path} is not the vocabulary that {BUILTIN_QWEN} is built from: its SHA-256 differs", hint=hint
        )
    letters = _byte_letters()
    fields = (line.split() for line in content.splitlines())
    return {base64.b64decode(token).decode("latin-1").translate(letters): int(rank) for token, rank in fields}


def _byte_letters() -> dict[int, str]:
    """Map each byte to a printable character. Source: `bytes_to_unicode` in openai/gpt-2 `src/encoder.py`."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(others)}


def merges_of(ranks: dict[str, int]) -> list[tuple[str, str]]:
    """Reconstruct the merge of each token of two or more letters, in the order of rank.

    A rank file lists only the results of the merges. The last merge of a token is the one pair of known tokens at which
    byte-pair encoding of the token itself arrives.
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
    """Return whether byte-pair encoding completes `left` and `right` before it merges across their border.

    Splits both in the reverse order of their merges (the higher rank was merged last; of equal ranks the right one,
    because merging proceeds from the left) and checks whether a merge across the border would have come first. Source:
    `is_valid_token_pair` in github/rust-gems `crates/bpe/src/byte_pair_encoding.rs`.
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


def _build() -> Tokenizer:
    """Build the tokenizer from the rank file of dashscope."""
    ranks = read_ranks(vocabulary_file())
    tokenizer = Tokenizer(BPE(vocab=ranks, merges=merges_of(ranks), fuse_unk=False, byte_fallback=False))
    tokenizer.normalizer = normalizers.NFC()
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(SPLIT), "isolated"), byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.add_tokens(
        [AddedToken(token, normalized=False, special=token not in _NOT_MARKED_SPECIAL) for token in SPECIAL_TOKENS]
    )
    return tokenizer


def serialized(tokenizer: Tokenizer) -> bytes:
    """Serialize the tokenizer as a tokenizer.json that loads fast."""
    content = json.loads(tokenizer.to_str())
    # The older format of merges, which every version of tokenizers reads, loads 25 % faster than pairs.
    content["model"]["merges"] = [" ".join(pair) for pair in content["model"]["merges"]]
    return json.dumps(content, ensure_ascii=False).encode()
