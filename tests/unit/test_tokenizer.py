"""The tokenizer: known ids, control tokens in text, the cache, folders, and the message for each missing file."""

import json
import pickle
import shutil
import subprocess
import sys
from itertools import pairwise

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from sca.errors import InputError, MissingToolError, UpstreamError
from sca.tokenizer import BUILTIN_QWEN, TextTokenizer, default_cache_dir, load_tokenizer, qwen_vocab
from sca.tokenizer import base as module


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    # Shared with tests/property/test_tokenizer.py: the build takes seconds.
    return tmp_path_factory.getbasetemp() / "tokenizer-cache"


@pytest.fixture(scope="module")
def qwen(cache):
    return load_tokenizer(BUILTIN_QWEN, cache_dir=cache)


@pytest.fixture
def small():
    """A byte-level tokenizer of 258 tokens: the bytes, and two added ones."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(letters)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_tokens([AddedToken("<|end|>", special=True), AddedToken("<think>", special=False)])
    return made


@pytest.fixture
def folder(small, tmp_path):
    PreTrainedTokenizerFast(tokenizer_object=small).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


# Qwen.


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("Hello, world!", [9707, 11, 1879, 0]),
        (" world", [1879]),
        ("user", [872]),
        ("assistant", [77091]),
        ("\n", [198]),
        ("", []),
    ],
)
def test_ids_of_the_real_vocabulary(qwen, text, ids):
    assert qwen.encode(text) == qwen.encode_with_specials(text) == ids
    assert qwen.decode(ids) == text


def test_encodes_control_tokens_of_a_prompt(qwen):
    prompt = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    ids = [151644, 8948, 198, 2610, 525, 264, 10950, 17847, 13, 151645, 198]
    assert qwen.encode_with_specials(prompt) == ids
    assert qwen.decode(ids) == prompt


@pytest.mark.parametrize(
    ("token_id", "token"),
    [
        (0, "!"),
        (151643, "<|endoftext|>"),
        (151646, "<|object_ref_start|>"),
        (151656, "<|video_pad|>"),
        (151657, "<tool_call>"),
        (151667, "<think>"),
        (151669, "<|audio_start|>"),
        (151672, "<tts_text_bos>"),
        (151675, "<|audio_pad|>"),
    ],
)
def test_control_tokens_have_known_ids(qwen, token_id, token):
    assert qwen.id_to_token(token_id) == token
    assert qwen.token_to_id(token) == token_id


def test_vocabulary_size_and_last_ids(qwen):
    assert qwen.vocab_size == 151_676
    assert qwen.special_ids == frozenset(range(151_643, 151_676))
    assert qwen.id_to_token(151_676) is None
    assert qwen.token_to_id("<|no such token|>") is None
    assert qwen.name == BUILTIN_QWEN
    assert repr(qwen) == "TextTokenizer('builtin:qwen', vocab_size=151676)"


def test_text_that_looks_like_control_tokens_is_text(qwen):
    for token_id in sorted(qwen.special_ids):
        token = qwen.id_to_token(token_id)
        assert qwen.encode_with_specials(token) == [token_id]
        for text in (token, f"he said {token} twice{token}{token}", token * 3, f" {token}\n"):
            ids = qwen.encode(text)
            assert qwen.special_ids.isdisjoint(ids), text
            assert qwen.decode(ids) == text


def test_offsets_are_characters_of_the_text(qwen):
    text = "Hi 👩‍🚀, naïve <think>"
    ids, offsets = qwen.encode_with_offsets(text)
    assert ids == qwen.encode(text)
    assert len(offsets) == len(ids)
    assert offsets[0] == (0, 2)
    assert text[slice(*offsets[-1])] == ">"
    # A leading space belongs to its token, tokens of one character share it, and all of the text is covered.
    words, spans = qwen.encode_with_offsets("one two")
    assert ([qwen.decode([i]) for i in words], spans) == (["one", " two"], [(0, 3), (3, 7)])
    assert sorted({i for start, end in offsets for i in range(start, end)}) == list(range(len(text)))


def test_rejects_half_a_surrogate_pair(qwen):
    for method in (qwen.encode, qwen.encode_with_offsets, qwen.encode_with_specials):
        with pytest.raises(InputError, match="half of a surrogate pair"):
            method("ab\ud83d")


def test_non_text_raises_type_error(qwen):
    with pytest.raises(TypeError):
        qwen.encode(7)


def test_stored_fingerprint_is_correct(qwen):
    assert qwen.fingerprint == module._fingerprint(qwen._full)


# The build and its cache.


def test_reconstructs_merges_of_byte_pair_encoding():
    ranks = qwen_vocab.read_ranks(qwen_vocab.vocabulary_file())
    merges = dict(zip([token for token in ranks if len(token) > 1], qwen_vocab.merges_of(ranks), strict=True))
    assert len(merges) == 151_643 - 256
    assert all(left + right == token for token, (left, right) in merges.items())
    # The slow reference, on every hundredth token: merge the pair of lowest rank until no pair has a lower one.
    for token in list(merges)[::100]:
        parts = list(token)
        while len(parts) > 2:
            costs = [ranks.get(a + b, len(ranks)) for a, b in pairwise(parts)]
            i = min(range(len(costs)), key=costs.__getitem__)
            assert costs[i] < ranks[token]
            parts[i : i + 2] = [parts[i] + parts[i + 1]]
        assert tuple(parts) == merges[token]


def test_cached_tokenizer_is_equal(qwen, cache, monkeypatch):
    (stored,) = cache.iterdir()
    assert stored.name.startswith("qwen-b2b1b8dfb5cc-")
    monkeypatch.setattr(sys, "path", [])  # dashscope cannot be found, so the cache must be used
    again = load_tokenizer(BUILTIN_QWEN, cache_dir=cache)
    assert module._fingerprint(again._full) == qwen.fingerprint
    text = "Größe 你好 <think> 123\r\n\r\n  x"
    assert again.encode_with_offsets(text) == qwen.encode_with_offsets(text)
    assert again.encode_with_specials(text) == qwen.encode_with_specials(text)


@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_rebuilds_a_damaged_cache(qwen, cache, tmp_path, damage):
    shutil.copytree(cache, tmp_path, dirs_exist_ok=True)
    (stored,) = tmp_path.iterdir()
    content = stored.read_bytes()
    changed = content.replace(b'"Hello": 9707', b'"Hello": 9708', 1)
    assert changed != content
    stored.write_bytes(content[:-100] if damage == "cut" else changed)
    assert load_tokenizer(BUILTIN_QWEN, cache_dir=tmp_path).encode("Hello") == [9707]
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [content]


def test_unwritable_cache_is_not_an_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    assert load_tokenizer(BUILTIN_QWEN, cache_dir=tmp_path / "file" / "cache").encode("Hello") == [9707]


def test_default_cache_follows_xdg(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / "sca"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/ignored")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / ".cache" / "sca"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_cache_dir() == tmp_path / ".cache" / "sca"


@pytest.fixture
def other_dashscope(tmp_path, monkeypatch):
    """A dashscope package with a different vocabulary, which must not be imported."""
    resources = tmp_path / "site" / "dashscope" / "resources"
    resources.mkdir(parents=True)
    (resources.parent / "__init__.py").write_text("raise AssertionError('imported')")
    (resources / "qwen.tiktoken").write_text("IQ== 0\nIg== 1\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site")])
    return resources


def test_rejects_a_different_vocabulary(other_dashscope, tmp_path):
    with pytest.raises(MissingToolError, match=r"is not the vocabulary .* SHA-256 differs") as caught:
        load_tokenizer(BUILTIN_QWEN, cache_dir=tmp_path / "none")
    assert str(other_dashscope) in caught.value.message
    assert "dashscope>=1.20,<1.21" in caught.value.hint


def test_dashscope_without_the_vocabulary(other_dashscope, tmp_path):
    (other_dashscope / "qwen.tiktoken").unlink()
    with pytest.raises(MissingToolError, match="which cannot be read: No such file"):
        load_tokenizer(BUILTIN_QWEN, cache_dir=tmp_path / "none")


def test_missing_dashscope(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(MissingToolError, match="dashscope package, which is not installed"):
        load_tokenizer(BUILTIN_QWEN, cache_dir=tmp_path)


def test_rejects_unknown_builtin(tmp_path):
    with pytest.raises(InputError, match="the tokenizer builtin:llama does not exist"):
        load_tokenizer("builtin:llama", cache_dir=tmp_path)


# Worker processes.


def test_builtin_pickles_by_name(qwen):
    content = pickle.dumps(qwen)
    assert len(content) < 1000
    script = "import pickle, sys; t = pickle.load(sys.stdin.buffer); print(t.name, t.encode('Hello, world!'))"
    done = subprocess.run([sys.executable, "-c", script], input=content, capture_output=True, check=True)
    assert done.stdout.decode().split(maxsplit=1) == [BUILTIN_QWEN, "[9707, 11, 1879, 0]\n"]


def test_others_pickle_with_their_vocabulary(folder):
    loaded = load_tokenizer(str(folder))
    shutil.rmtree(folder)
    again = pickle.loads(pickle.dumps(loaded))
    assert again.name == str(folder)
    assert again.encode("a <think>") == loaded.encode("a <think>")
    assert again.fingerprint == loaded.fingerprint


# Folders.


def test_loads_a_folder(folder):
    loaded = load_tokenizer(str(folder))
    assert (loaded.name, loaded.vocab_size) == (str(folder), 258)
    text = "<|end|> naïve <think>"
    assert loaded.decode(loaded.encode(text)) == text
    assert loaded.special_ids == {256, 257}
    assert loaded.special_ids.isdisjoint(loaded.encode(text))
    assert loaded.special_ids.issubset(loaded.encode_with_specials(text))


def test_expands_the_home_folder(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder.parent))
    assert load_tokenizer("~/model").vocab_size == 258


def test_qwen_from_a_folder_equals_the_builtin(qwen, cache, tmp_path):
    (stored,) = cache.iterdir()
    shutil.copy(stored, tmp_path / "tokenizer.json")
    loaded = load_tokenizer(str(tmp_path))
    assert loaded.fingerprint == qwen.fingerprint
    assert loaded.encode("Hello, <think> world!") == qwen.encode("Hello, <think> world!")


def test_fingerprints_of_different_tokenizers_differ(small):
    before = TextTokenizer(small, "a").fingerprint
    assert TextTokenizer(Tokenizer.from_str(small.to_str()), "another name").fingerprint == before
    small.add_tokens(["more"])
    assert TextTokenizer(small, "a").fingerprint != before


def test_ignores_padding_and_truncation_of_the_file(small):
    small.enable_truncation(2)
    small.enable_padding(length=9)
    assert len(TextTokenizer(Tokenizer.from_str(small.to_str()), "a").encode("abcd")) == 4


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "does not contain a tokenizer: it has neither tokenizer.json nor vocab.json with merges.txt"),
        (["config.json", "model.safetensors"], "does not contain a tokenizer: it has neither tokenizer.json"),
        (["vocab.json", "tokenizer_config.json"], "has vocab.json but no merges.txt"),
        (["merges.txt"], "has merges.txt but no vocab.json"),
    ],
)
def test_names_missing_files(tmp_path, files, message):
    for name in files:
        (tmp_path / name).write_text('{"model_type": "qwen3_omni_moe"}')
    with pytest.raises(InputError) as caught:
        load_tokenizer(str(tmp_path))
    assert caught.value.message.startswith(f"{tmp_path} {message}")


@pytest.mark.parametrize("content", ['{"version": "1.0", "mod', "{}", '{"model": {"type": "BPE"}}', ""])
def test_damaged_folder(folder, content):
    (folder / "tokenizer.json").write_text(content)
    with pytest.raises(InputError) as caught:
        load_tokenizer(str(folder))
    assert caught.value.message.startswith(f"the tokenizer files of {folder} cannot be used: ")
    assert "\n" not in caught.value.message


def test_tokenizer_without_fast_implementation(tmp_path):
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "CTRLTokenizer"}')
    (tmp_path / "vocab.json").write_text('{"<unk>": 0, "a</w>": 1}')
    (tmp_path / "merges.txt").write_text("#version\na b 1\n")
    with pytest.raises(InputError, match=r"\(CTRLTokenizer\) does not have a fast implementation"):
        load_tokenizer(str(tmp_path))


def test_never_runs_code_of_a_folder(folder):
    (folder / "tokenizer_config.json").write_text(json.dumps({"auto_map": {"AutoTokenizer": ["evil.Tokenizer", None]}}))
    (folder / "evil.py").write_text(f"open({str(folder / 'ran')!r}, 'w')")
    with pytest.raises(InputError, match="custom code"):
        load_tokenizer(str(folder))
    assert not (folder / "ran").exists()


def test_rejects_vocabulary_with_control_tokens_in_text(tmp_path):
    words = Tokenizer(models.WordLevel({"[UNK]": 0, "[END]": 1, "hello": 2}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words.add_special_tokens(["[UNK]", "[END]"])
    PreTrainedTokenizerFast(tokenizer_object=words).save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"cannot distinguish the text \[END\] from its control token"):
        load_tokenizer(str(tmp_path))


@pytest.mark.parametrize(
    "path", ["/no/such/folder", "./nothing", "~/nothing", "some/deep/folder", "~nobody-of-this-name/x"]
)
def test_missing_folder(path):
    with pytest.raises(InputError, match=r"^the folder .* does not exist$") as caught:
        load_tokenizer(path)
    assert BUILTIN_QWEN in caught.value.hint


def test_rejects_a_file(folder):
    with pytest.raises(InputError, match="is a file; a tokenizer is a folder"):
        load_tokenizer(str(folder / "tokenizer.json"))


def test_empty_name_is_not_the_current_folder():
    with pytest.raises(InputError, match="the name of the tokenizer is empty"):
        load_tokenizer("")


def test_neither_folder_nor_hub_id():
    with pytest.raises(InputError, match="two words is neither a folder nor a hub id"):
        load_tokenizer("two words")


def test_offline_and_not_cached():
    with pytest.raises(UpstreamError) as caught:  # conftest.py sets HF_HUB_OFFLINE
        load_tokenizer("no-such-people/no-such-model")
    assert caught.value.message == (
        "cannot get the tokenizer of no-such-people/no-such-model: it is not in the local cache, and HF_HUB_OFFLINE is set; "
        "builtin:qwen needs no network"
    )
