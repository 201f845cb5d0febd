"""Rows of the demo set in a padded batch: every audio token has an encoder item, and only the speaker's tokens have labels."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from torch.utils.data import DataLoader

from sca.audio.mel import log_mel
from sca.data.duplex.build.dataset import build_duplex
from sca.data.duplex.load.collate import DuplexCollator
from sca.data.duplex.load.dataset import load
from sca.errors import UsageError
from sca.tokenizer import load_tokenizer
from tests.helpers import corpus


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("collate")
    build_duplex(corpus.demo(root / "corpus"), root / "data", corpus.settings())
    return load(root / "data")


@pytest.fixture(scope="module")
def collator():
    return DuplexCollator(load_tokenizer("builtin:qwen"))


def test_batch_contains_its_rows(data, collator):
    rows = list(data)
    batch = collator(rows)
    first = 0
    for i, row in enumerate(rows):
        n, chunks = len(row.input_ids), len(row.heard)
        heard = row.input_ids == row.placeholder
        ids, labels = batch["input_ids"][i].numpy(), batch["labels"][i].numpy()
        assert (ids[:n] == 151675).sum() == heard.sum() == 4 * chunks
        np.testing.assert_array_equal(ids[:n][~heard], row.input_ids[~heard])
        assert (ids[n:] == 151643).all()
        assert batch["attention_mask"][i].sum() == n
        prompt = int(heard.argmax())
        assert (labels[:prompt] == -100).all()
        assert (labels[n:] == -100).all()
        np.testing.assert_array_equal(labels[prompt:n], row.input_ids[prompt:])
        alone = np.stack([log_mel(chunk) for chunk in row.heard])
        np.testing.assert_array_equal(batch["input_features"][first : first + chunks].numpy(), alone)
        first += chunks
    assert first == len(batch["input_features"]) == len(batch["feature_attention_mask"])
    assert not batch["speaker_embedding_mask"].any()


def test_loader_workers_return_the_same_batches(data, collator):
    here = [collator([row])["input_features"] for row in data]
    there = DataLoader(data, batch_size=1, num_workers=2, collate_fn=collator)
    assert all(a.equal(b["input_features"]) for a, b in zip(here, there, strict=True))


def test_rejects_an_empty_batch(collator):
    with pytest.raises(UsageError, match="at least one row"):
        collator([])


def test_weights_of_silence(data):
    batch = DuplexCollator(load_tokenizer("builtin:qwen"), silence_weight=0.25)(list(data))
    labels, weights = batch["labels"].numpy(), batch["label_weights"].numpy()
    silence = data.silence_id
    assert (weights[labels == -100] == 0).all()
    assert (weights[labels == silence] == 0.25).all()
    assert (weights[(labels != -100) & (labels != silence)] == 1).all()
    assert (labels == silence).any()
    assert batch["listener_labels"] is None
    with pytest.raises(UsageError, match="silence_weight"):
        DuplexCollator(load_tokenizer("builtin:qwen"), silence_weight=-1)


def test_labels_of_the_listener(data):
    """Every word is labelled after it was heard, and the labels are the words of the other speaker."""
    tokenizer = load_tokenizer("builtin:qwen")
    batch = pickle.loads(pickle.dumps(DuplexCollator(tokenizer, listener_text=True)))(list(data))
    found_words = 0
    for i, row in enumerate(data):
        labels = batch["listener_labels"][i].numpy()
        audio = np.flatnonzero(row.input_ids == row.placeholder)
        assert (np.delete(labels, audio) == -100).all()
        assert (batch["labels"][i].numpy()[audio] == -100).all()
        heard = labels[audio]
        text = tokenizer.decode([int(token) for token in heard if token != row.silence_id])
        words = " ".join(word["word"] for word in row.listener_words)
        assert words.startswith(text.strip())
        record = data.record(i)
        start_s = record["start_chunk"] * float(data.grid.chunk_s)
        stored = data.words(record["session_id"], record["listener"])
        within = [
            word for word in stored if word["start"] >= start_s and word["end"] <= start_s + 0.32 * len(row.heard)
        ]
        assert [word["word"] for word in row.listener_words] == [word["word"] for word in within]
        # Before the audio of chunk c, no more words than ended before it.
        for chunk in range(len(row.heard)):
            ended = " ".join(word["word"] for word in row.listener_words if word["end"] <= 0.32 * chunk + 1e-6)
            so_far = tokenizer.decode([int(t) for t in heard[: 4 * (chunk + 1)] if t != row.silence_id]).strip()
            assert ended.startswith(so_far)
        found_words += len(text.split())
    assert found_words > 20


def test_unknown_words_of_the_listener_have_no_labels(data):
    row = replace(data[0], listener_words=None)
    batch = DuplexCollator(load_tokenizer("builtin:qwen"), listener_text=True)([row])
    assert (batch["listener_labels"] == -100).all()
