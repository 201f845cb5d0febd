"""Rows of the demo set in a padded batch: every audio token has an encoder item, and only the speaker's tokens have labels."""

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
