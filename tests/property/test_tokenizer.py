"""Round trips, offsets and ids of the real vocabulary, for any text."""

import base64
import unicodedata
from itertools import pairwise

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from sca.tokenizer import BUILTIN_QWEN, load_tokenizer
from sca.tokenizer import qwen_vocab as module

# fmt: off
CORNERS = [
    "👩\u200d🚀", "🇰🇷", "你好，世界", "こんにちは", "안녕", "שלום", "مرحبا", "é", "I'm", "12345",
    "\u202e", "\x00", "\x07", "\t", "\r\n", "  ", "\u00a0",
]
# fmt: on
TEXT = st.lists(st.text() | st.sampled_from([*CORNERS, *module.SPECIAL_TOKENS])).map(
    lambda parts: unicodedata.normalize("NFC", "".join(parts))
)


@pytest.fixture(scope="module")
def qwen(tmp_path_factory):
    return load_tokenizer(BUILTIN_QWEN, cache_dir=tmp_path_factory.getbasetemp() / "tokenizer-cache")


@pytest.fixture(scope="module")
def ranks():
    lines = module.vocabulary_file().read_bytes().splitlines()
    return {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in lines)}


@given(text=TEXT)
def test_decoding_restores_text_without_control_tokens(qwen, text):
    ids = qwen.encode(text)
    assert qwen.decode(ids) == text
    assert qwen.special_ids.isdisjoint(ids)


@given(text=TEXT)
def test_offsets_cover_the_text_in_order(qwen, text):
    ids, offsets = qwen.encode_with_offsets(text)
    assert ids == qwen.encode(text)
    at = 0
    for start, end in offsets:
        assert start <= at <= len(text)
        assert start < end
        at = max(at, end)
    assert at == len(text)


@given(text=TEXT)
def test_prompts_round_trip(qwen, text):
    assert qwen.decode(qwen.encode_with_specials(text)) == text


@given(text=TEXT)
def test_ids_match_the_rank_file(qwen, ranks, text):
    """Byte-pair encoding directly from the ranks, as in tiktoken: without merges and without `tokenizers`."""
    expected = []
    for word in regex.findall(module.SPLIT, text):
        parts = [bytes([byte]) for byte in word.encode()]
        while len(parts) > 1:
            costs = [ranks.get(a + b, len(ranks)) for a, b in pairwise(parts)]
            if min(costs) == len(ranks):
                break
            i = costs.index(min(costs))
            parts[i : i + 2] = [parts[i] + parts[i + 1]]
        expected += [ranks[part] for part in parts]
    assert qwen.encode(text) == expected
