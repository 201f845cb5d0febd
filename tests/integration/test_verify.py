"""`sca verify` finds every change of a data set and names the place."""

import json
import random
import shutil
from itertools import pairwise

import numpy as np
import pytest

from sca.audio.mel import log_mel
from sca.data.duplex.build.dataset import build_duplex
from sca.data.duplex.model.row_names import typed_row_id
from sca.data.duplex.verify.audio.causality import leaked_chunks
from sca.data.duplex.verify.dataset import verify
from sca.errors import InputError
from sca.tokenizer import load_tokenizer
from tests.helpers import corpus
from tests.helpers.duplex_files import break_storage, put_rows, rows_of, storage


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    root = tmp_path_factory.mktemp("verify")
    source = corpus.pair(corpus.short_demo(root / "corpus"), "A0009_S0009_0", audio=35.0)
    build_duplex(source, root / "data", corpus.settings())
    assert verify(root / "data").holds
    return root / "data"


@pytest.fixture
def data(intact, tmp_path):
    """A copy to break."""
    shutil.copytree(intact, tmp_path / "data")
    return tmp_path / "data"


def problems_of(data):
    outcome = verify(data)
    assert not outcome.holds
    return outcome.problems


def test_rewriting_the_same_values_changes_nothing(data):
    put_rows(data, rows_of(data))
    assert verify(data).holds


@pytest.mark.parametrize("seed", range(12))
def test_finds_one_changed_token(data, seed):
    rows = rows_of(data)
    rng = random.Random(seed)
    row = rng.choice(rows)
    at = rng.randrange(len(row["input_ids"]))
    new = rng.choice([t for t in (-100, 151646, 151675, 0, 9707, 1879, 151700) if t != row["input_ids"][at]])
    row["input_ids"][at] = new
    put_rows(data, rows)
    named = [p for p in problems_of(data) if p.startswith(typed_row_id(row["row_id"]))]
    assert named, "a problem names the row, not only the digest"


def test_finds_other_tokens_of_the_same_text(data):
    """Replace two tokens by two others with the same letters: the text is unchanged, but the row is wrong."""
    tokenizer = load_tokenizer("builtin:qwen")
    rows = rows_of(data)
    row, places, other = next(
        (row, places, other) for row in rows for places, other in other_spellings(row["input_ids"], tokenizer)
    )
    for at, token in zip(places, other, strict=True):
        row["input_ids"][at] = token
    put_rows(data, rows)
    found = problems_of(data)
    assert any(p.startswith(typed_row_id(row["row_id"])) and "not those that the tokenizer makes" in p for p in found)
    assert not any("its tokens decode to" in p for p in found)


def other_spellings(ids, tokenizer):
    """Yield the places of two neighbouring text tokens, and two other tokens with the same letters."""
    text = [i for i, token in enumerate(ids) if token >= 0 and token not in tokenizer.special_ids]
    for a, b in pairwise(text):
        letters = tokenizer.id_to_token(ids[a]) + tokenizer.id_to_token(ids[b])
        for cut in range(1, len(letters)):
            other = tokenizer.token_to_id(letters[:cut]), tokenizer.token_to_id(letters[cut:])
            if None not in other and other != (ids[a], ids[b]) and tokenizer.decode([ids[b]])[:1] != " ":
                yield (a, b), other


def test_finds_changed_segment_text(data):
    rows = rows_of(data)
    segment = next(row for row in rows if row["segments"])["segments"][0]
    segment["text"] = segment["text"].upper()
    put_rows(data, rows)
    assert any("its tokens decode to" in p for p in problems_of(data))


def test_measures_features_that_look_ahead(intact):
    """Features that use the next two chunks leak two chunks back from the middle, so the measure can differ from 0."""

    def two_ahead(chunks):
        padded = np.concatenate([chunks, np.zeros_like(chunks[:2])])
        return padded[:-2] + padded[2:]

    heard = np.random.default_rng(0).normal(0, 0.1, (10, 5120)).astype(np.float32)
    assert leaked_chunks(log_mel, heard, 4) == 0
    assert leaked_chunks(two_ahead, heard, 4) == 2
    assert verify(intact).report.leak.structural_s == 0.0
    assert json.loads((intact / "report.json").read_text())["leak"]["structural_s"] is None


def test_finds_chunk_missing_from_tokens(data):
    rows = rows_of(data)
    row = next(row for row in rows if row["input_ids"][row["prompt_tokens"] + 4] == 151646)
    del row["input_ids"][row["prompt_tokens"] : row["prompt_tokens"] + 5]
    put_rows(data, rows)
    assert any("input_ids has" in p and "n_chunks is" in p for p in problems_of(data))


@pytest.mark.parametrize(("a", "b"), [(0, 1), (0, -1), (1, 2)])
def test_finds_swapped_rows(data, a, b):
    rows = rows_of(data)
    rows[a], rows[b] = rows[b], rows[a]
    put_rows(data, rows)
    assert any("previous row ends" in p or "out of order" in p or "this order" in p for p in problems_of(data))


def test_finds_swapped_tokens_of_two_rows(data):
    rows = rows_of(data)
    rows[0]["input_ids"], rows[1]["input_ids"] = rows[1]["input_ids"], rows[0]["input_ids"]
    put_rows(data, rows)
    found = problems_of(data)
    assert any(p.startswith(typed_row_id(rows[0]["row_id"])) for p in found)
    assert any(p.startswith(typed_row_id(rows[1]["row_id"])) for p in found)


def test_finds_missing_and_duplicate_rows(data):
    rows = rows_of(data)
    put_rows(data, rows[:-1])
    assert any("no row contains " in p or "its rows end at chunk" in p for p in problems_of(data))
    put_rows(data, [*rows, rows[-1]])
    assert any("appears twice" in p for p in problems_of(data))


def test_finds_word_with_changed_times(data):
    rows = rows_of(data)
    word = next(row for row in rows if row["segments"])["segments"][0]["words"][0]
    word["start_s"] += 0.5
    put_rows(data, rows)
    assert any("does not match the stored word" in p for p in problems_of(data))


def test_rewriting_the_same_storage_changes_nothing(data):
    break_storage(data, lambda records, cells: None)
    assert verify(data).holds


def test_finds_swapped_audio_of_two_speakers(data):
    break_storage(data, lambda records, cells: cells.reverse())
    assert any("storage_digest" in p for p in problems_of(data))


def test_finds_chunk_missing_from_audio(data):
    def cut(records, cells):
        import io

        import soundfile as sf

        samples, rate = sf.read(io.BytesIO(cells[0][0]), dtype="int16")
        out = io.BytesIO()
        sf.write(out, samples[5120:], rate, format="FLAC", subtype="PCM_16")
        cells[0][0] = out.getvalue()

    break_storage(data, cut)
    assert any("the length of the session requires" in p for p in problems_of(data))


def test_finds_damaged_audio_bytes(data):
    def damage(records, cells):
        middle = len(cells[0][1]) // 2
        cells[0][1] = cells[0][1][:middle] + bytes(64) + cells[0][1][middle + 64 :]

    break_storage(data, damage)
    assert problems_of(data)


def test_finds_truncated_and_missing_storage_file(data):
    whole = storage(data).read_bytes()
    storage(data).write_bytes(whole[: len(whole) // 2])
    assert any("cannot be read" in p for p in problems_of(data))
    storage(data).unlink()
    assert problems_of(data)


def test_finds_changed_report(data):
    path = data / "report.json"
    report = json.loads(path.read_text())
    report["placement"]["mean_error_s"] = 0.0
    path.write_text(json.dumps(report))
    assert any("placement.mean_error_s" in p for p in problems_of(data))


def test_worker_processes_find_the_same(data):
    """The sessions are verified in any order, the problems are listed in that of the sessions."""
    rows = rows_of(data)
    for row in rows:
        row["flags"].append("lag")
    put_rows(data, rows)
    alone, together = verify(data, jobs=1), verify(data, jobs=2)
    assert alone.problems == together.problems != []
    assert alone.report == together.report


def test_unreadable_session_hides_no_other(data):
    rows = rows_of(data)
    rows[0]["flags"].append("lag")
    put_rows(data, rows)
    storage(data).unlink()
    found = problems_of(data)
    assert any("D0001_S0001_0" in problem and "cannot be read" in problem for problem in found)
    assert any(problem.startswith(f"{typed_row_id(rows[0]['row_id'])}: has the flag lag") for problem in found)


def test_rejects_folder_that_is_not_a_data_set(data):
    (data / "settings.json").unlink()
    with pytest.raises(InputError, match="not a duplex data set"):
        verify(data)


@pytest.mark.parametrize("name", ["train/state.json", "storage/state.json"])
@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_damaged_list_of_files_names_the_command(data, name, damage):
    (data / name).write_bytes((data / name).read_bytes()[:20])
    if damage == "missing":
        (data / name).unlink()
    with pytest.raises(InputError, match=name) as caught:
        verify(data)
    assert caught.value.hint == "run the same sca build-duplex again"


def test_rejects_other_schema_version(data):
    path = data / "settings.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 0}))
    with pytest.raises(InputError, match="schema version 0"):
        verify(data)
