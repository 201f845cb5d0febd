"""The vocabulary of Qwen3-Omni, built from the rank file that ships inside the dashscope package, and kept on disk once built."""

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

from sca.errors import MissingToolError

__all__ = ["BUILTIN_QWEN", "FINGERPRINT", "SPECIAL_TOKENS", "builtin_qwen", "serialized"]

log = logging.getLogger(__name__)

BUILTIN_QWEN = "builtin:qwen"

_VOCABULARY_SHA256 = "b2b1b8dfb5cc5f024bafc373121c6aba3f66f9a5a0269e243470a1de16a33186"
_BUILDER = 1  # raise when the build changes; old cache files are then left alone and new ones made
# The fingerprint of what the builder makes, so that nobody has to compute it; tests/unit/test_tokenizer.py recomputes it.
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
# Added tokens that Qwen does not mark special: they are parsed all the same, but `skip_special_tokens` keeps them.
_NOT_MARKED_SPECIAL = frozenset(SPECIAL_TOKENS[14:26])


def builtin_qwen(folder: Path | None) -> Tokenizer:
    """The build that is cached in `folder`, or a new one, which is then cached there if that is possible."""
    if folder is None:
        return _build()
    # The name holds what went in and the hash of what came out, so that a damaged file is known without trusting its content.
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


def vocabulary_file() -> Path:
    spec = find_spec("dashscope")
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    if not folders:
        raise MissingToolError(
            f"{BUILTIN_QWEN} is built from a file of the dashscope package, and that is not installed",
            hint='install it: uv sync, or pip install "dashscope>=1.20,<1.21"',
        )
    return Path(folders[0]) / "resources" / "qwen.tiktoken"


def read_ranks(path: Path) -> dict[str, int]:
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


def merges_of(ranks: dict[str, int]) -> list[tuple[str, str]]:
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


def _build() -> Tokenizer:
    """Build the tokenizer from dashscope's rank file."""
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
    """The content of a tokenizer.json that loads fast."""
    content = json.loads(tokenizer.to_str())
    # The older spelling of merges, which every version of tokenizers reads, loads a quarter faster than pairs do.
    content["model"]["merges"] = [" ".join(pair) for pair in content["model"]["merges"]]
    return json.dumps(content, ensure_ascii=False).encode()
