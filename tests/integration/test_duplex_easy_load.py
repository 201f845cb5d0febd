"""`easy_load` on a duplex data set, and reading it with torch's loader: workers, ranks, and resuming."""

import doctest
import json
import pickle

import numpy as np
import pytest
from torch.utils.data import DataLoader

import sca
from sca.data.duplex.build.dataset import build_duplex
from sca.data.duplex.load.dataset import load
from sca.data.duplex.load.sampler import ResumableSampler
from sca.data.duplex.verify.dataset import verify
from sca.errors import UsageError
from sca.tokenizer import load_tokenizer
from sca.units import seconds_to_samples
from tests.helpers import corpus

SPOKEN_HZ = 24_000


CONTROLS = {"hold_id": 151_647, "start_id": 151_648, "stop_id": 151_649, "backchannel_id": 151_650}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("easy")
    build_duplex(corpus.demo(folder / "corpus"), folder / "my_data", corpus.settings(window="5-10", **CONTROLS))
    return folder / "my_data"


def test_example_contains_its_row(root):
    rows, examples = load(root), sca.easy_load(root, format="duplex")
    tokenizer = load_tokenizer("builtin:qwen")
    assert len(examples) == len(rows) > 10
    for row, example in zip(rows, examples, strict=True):
        assert example.row_id == row.row_id
        assert example.input_sequence == row.input_ids.tolist()
        # One input audio for each run of four placeholders.
        assert 4 * len(example.input_audios) == example.input_sequence.count(-100)
        assert {audio.sampling_rate for audio in example.input_audios} == {16_000}
        np.testing.assert_array_equal([audio.waveform for audio in example.input_audios], row.heard)
        assert len(example.target_audios) == len(row.segments)
        for target, segment in zip(example.target_audios, row.segments, strict=True):
            text = tokenizer.decode([example.input_sequence[at] for at in target.text_token_idxs])
            assert text == (" " if segment["leading_space"] else "") + segment["text"]
            assert target.text_token_idxs == sorted(set(target.text_token_idxs))
            start = seconds_to_samples(segment["start_s"], SPOKEN_HZ)
            spoken = row.spoken.reshape(-1)[start:][: len(target.audio.waveform)]
            np.testing.assert_array_equal(target.audio.waveform, spoken)
            assert target.audio.sampling_rate == SPOKEN_HZ
            assert len(target.audio.waveform) == pytest.approx(
                (segment["end_s"] - segment["start_s"]) * SPOKEN_HZ, abs=1
            )
            assert np.abs(target.audio.waveform).max() > 0.01
        assert example.speaker_embedding is None


def test_collators_of_dicts_take_the_examples(root):
    """Earlier collators read `feature["dataset_row_obj"]`, ints, objects with a waveform, and an embedding."""
    features = sca.easy_load(root, format="duplex_with_embeddings")[:2]
    rows = [feature["dataset_row_obj"] for feature in features]
    for row in rows:
        assert {type(token) for token in row.input_sequence} == {int}
        prompt = row.input_sequence[: row.input_sequence.index(-100)]
        assert prompt
        assert all(audio.waveform.shape == (5120,) for audio in row.input_audios)
        assert all(len(target.audio.waveform) > 0 for target in row.target_audios)
        assert row.speaker_embedding.shape == (192,)
        assert row.speaker_embedding.dtype == np.float32
    assert np.stack([row.speaker_embedding for row in rows]).sum() == 0
    with pytest.raises(KeyError):
        features[0]["row"]


def test_targets_contain_all_text_of_a_row(root):
    not_text = {151_646, *CONTROLS.values()}
    for row, example in zip(load(root), sca.easy_load(root, format="duplex"), strict=True):
        prompt = int((row.input_ids == row.placeholder).argmax())
        tokens = [
            at for at, one in enumerate(row.input_ids) if at >= prompt and one not in {*not_text, row.placeholder}
        ]
        assert [at for target in example.target_audios for at in target.text_token_idxs] == tokens


def test_raw_is_the_stored_row_with_audio(root):
    rows, raw = load(root), sca.easy_load(root)
    assert raw[0]["row_id"] == rows[0].row_id
    np.testing.assert_array_equal(raw[0]["heard"]["array"], rows[0].heard.reshape(-1))
    np.testing.assert_array_equal(raw[-1]["spoken"]["array"], rows[-1].spoken.reshape(-1))
    assert [line["row_id"] for line in raw[1:3]] == [rows[1].row_id, rows[2].row_id]


def test_loader_workers_return_the_same_examples(root):
    examples = sca.easy_load(root, format="duplex")
    there = DataLoader(pickle.loads(pickle.dumps(examples)), batch_size=None, num_workers=2)
    for here, found in zip(examples, there, strict=True):
        np.testing.assert_array_equal(here.input_sequence, found.input_sequence)
        for a, b in zip(here.target_audios, found.target_audios, strict=True):
            np.testing.assert_array_equal(a.audio.waveform, b.audio.waveform)


@pytest.mark.parametrize("function", [sca.load, verify, sca.DuplexRows], ids=["load", "verify", "DuplexRows"])
def test_docstring_examples_run(root, monkeypatch, function):
    monkeypatch.chdir(root.parent)
    (example,) = doctest.DocTestFinder(recurse=False).find(function, function.__name__, globs={})
    result = doctest.DocTestRunner().run(example)
    assert result.failed == 0
    assert result.attempted >= 5


def test_rejects_a_format_of_shows(root):
    with pytest.raises(UsageError, match="a duplex data set, which has no format 'chat'") as raised:
        sca.easy_load(root, format="chat")
    assert raised.value.hint == "its formats: raw, duplex, duplex_with_embeddings"


def row_ids(rows):
    return [row.row_id for row in rows]


def read(data, sampler, workers, batches=None):
    """Return the row ids of each batch. Workers fetch ahead, so they have read more than a loop of a few batches."""
    loader = DataLoader(data, batch_size=2, sampler=sampler, num_workers=workers, collate_fn=row_ids)
    return [batch for batch, _ in zip(loader, range(batches or 1000), strict=False)]


@pytest.mark.parametrize("world", [1, 2])
def test_interrupted_run_resumes_with_the_next_row(root, world):
    data = load(root)
    for rank in range(world):

        def sampler(rank=rank):
            made = ResumableSampler(len(data), seed=3, rank=rank, world=world)
            made.set_epoch(1)
            return made

        whole = read(data, sampler(), workers=0)
        interrupted = sampler()
        before = read(data, interrupted, workers=2, batches=2)
        state = json.dumps(interrupted.state_dict(rows_used=sum(map(len, before))))
        resumed = ResumableSampler(len(data), seed=3, rank=rank, world=world)
        resumed.load_state_dict(json.loads(state))
        after = read(data, resumed, workers=2)
        assert before + after == whole


def test_ranks_read_every_row_once(root):
    data = load(root)
    found = [
        row
        for rank in range(2)
        for batch in read(data, ResumableSampler(len(data), rank=rank, world=2), workers=2)
        for row in batch
    ]
    assert set(found) == set(row_ids(data))
    assert len(found) == len(data) + len(data) % 2
