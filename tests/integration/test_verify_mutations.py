"""`sca verify` finds every mutation of a data set and names the place, also when the report was rewritten to match."""

import shutil

import numpy as np
import pytest

from sca.data.duplex.build.dataset import build_duplex
from sca.data.duplex.verify.dataset import verify
from sca.errors import InputError
from tests.helpers import corpus
from tests.helpers.duplex_files import TRAIN
from tests.helpers.duplex_mutations import (
    HEARD,
    OTHER_SESSION,
    SESSION,
    SPOKEN,
    Mutation,
    append_bytes,
    borrow_audio,
    change_audio,
    change_json,
    change_row,
    change_rows,
    change_segment,
    change_track,
    change_words,
    copy,
    list_file,
    remove,
    replace_text,
    rewrite_report,
    swap_audio,
)

STORAGE = f"storage/{SESSION}.arrow"
BOTH = (HEARD, SPOKEN)


def set_field(name, value):
    """Return a change of one field; `value` may be computed from the old value."""

    def change(record):
        record[name] = value(record[name]) if callable(value) else value

    return change


def set_provenance(name, value):
    return change_track(lambda record: set_field(name, value)(record["provenance"]))


def change_word(change):
    return change_segment(lambda segment: change(segment["words"][1]))


def text_places(row):
    """Return the places of the text tokens of a row."""
    return [n for n, token in enumerate(row["input_ids"]) if n >= row["prompt_tokens"] and 0 <= token < 151_643]


def change_token(row):
    at = text_places(row)[0]
    row["input_ids"][at] = 9707 if row["input_ids"][at] != 9707 else 1879


def move_silence_before_text(row):
    ids = row["input_ids"]
    at = next(n for n in text_places(row) if ids[n + 1] == 151_646)
    ids[at], ids[at + 1] = ids[at + 1], ids[at]


def delay_tokens(row):
    """Move the chunk of the first text to the end of the row."""
    ids = row["input_ids"]
    at = text_places(row)[0] - 4
    row["input_ids"] = ids[:at] + ids[at + 6 :] + ids[at : at + 6]


def append_chunks(row):
    row["input_ids"] += [-100, -100, -100, -100, 151_646] * 3
    row["n_chunks"] += 3


def append_extension(row):
    append_chunks(row)
    row["extended_chunks"] += 3
    row["flags"].append("extended")


def shift_token_to_next_word(segment):
    words = segment["words"]
    at = next(n for n in range(len(words) - 1) if words[n + 1]["n_tokens"] > 0)
    words[at]["n_tokens"] += 1
    words[at + 1]["n_tokens"] -= 1


def drop_segment(row):
    segment = row["segments"].pop(0)
    names = ("text", "start_s", "end_s", "n_tokens", "first_word", "n_words")
    row["dropped"].append({name: segment[name] for name in names})
    for at in text_places(row)[: segment["n_tokens"]]:
        row["input_ids"][at] = 151_646


def swap_first_rows(rows):
    rows[0], rows[1] = rows[1], rows[0]


def swap_tokens(rows):
    rows[0]["input_ids"], rows[1]["input_ids"] = rows[1]["input_ids"], rows[0]["input_ids"]


def silence(samples, rate_hz):
    return np.zeros_like(samples)


def silence_a_second(samples, rate_hz):
    loud = int(np.argmax(np.abs(samples)))
    first = loud // rate_hz * rate_hz
    changed = samples.copy()
    changed[first : first + rate_hz] = 0
    return changed


def shift(samples, rate_hz):
    return np.concatenate([np.zeros(rate_hz, np.int16), samples[:-rate_hz]])


def reverse(samples, rate_hz):
    return samples[::-1].copy()


def halve(samples, rate_hz):
    return samples // 2


def noise(samples, rate_hz):
    return np.random.default_rng(0).normal(0, 2000, len(samples)).astype(np.int16)


def shorten(samples, rate_hz):
    return samples[: -rate_hz // 2]


def make_stereo(samples, rate_hz):
    return np.stack([samples, samples], axis=1)


def add_bleed(record):
    record["bleed"][0]["bleed_s"] += 5.0


def add_gate(record):
    word = record["words"][0]
    record["gated"].append({"start": word["start"], "end": word["end"] + 1})


def add_speech(record):
    record["speech"].append({"start": 1.0, "end": 2.0})


def append_table(data):
    append_bytes(str(TRAIN), (data / TRAIN).read_bytes())(data)


def unit_vector(record):
    record["speaker_embedding"] = [1.0] + [0.0] * 191


def nan_vector(record):
    record["speaker_embedding"] = [float("nan")] * 192


def rename_speaker(record):
    record["speaker_id"] = "G0009"


def swap_words(record_words):
    record_words[2], record_words[3] = record_words[3], record_words[2]


ROWS = [
    Mutation("one token is another", change_row(change_token), "its tokens decode to", SESSION),
    Mutation("silence stands before text", change_row(move_silence_before_text), "", SESSION),
    Mutation("text is placed too late", change_row(delay_tokens), "its tokens decode to", SESSION),
    Mutation("a placeholder is the model's token", change_row(lambda r: r["input_ids"].__setitem__(r["prompt_tokens"], 151_675)), "does not begin with 4 audio placeholders", SESSION),
    Mutation("a token past the vocabulary", change_row(lambda r: r["input_ids"].__setitem__(text_places(r)[0], 160_000)), "is not a text token", SESSION),
    Mutation("another system prompt", change_row(lambda r: r["input_ids"].__setitem__(3, 9707)), "the system prompt is not", SESSION),
    Mutation("prompt_tokens", change_row(set_field("prompt_tokens", lambda n: n + 1)), "prompt_tokens is", SESSION),
    Mutation("n_chunks", change_row(set_field("n_chunks", lambda n: n + 1)), "n_chunks is", SESSION),
    Mutation("silent chunks are appended", change_row(append_chunks), "", SESSION),
    Mutation("silent chunks are appended as an extension", change_row(append_extension), "past its window", SESSION),
    Mutation("start_chunk", change_row(set_field("start_chunk", lambda n: n + 1)), "row_id should be", SESSION),
    Mutation("row_id", change_row(set_field("row_id", "row 1")), "row_id should be", SESSION),
    Mutation("the listener is the speaker", change_row(lambda r: r.update(listener=r["speaker"])), "sides (listener, speaker)", SESSION),
    Mutation("flag of a lag", change_row(lambda r: r["flags"].append("lag")), "the flag lag", SESSION),
    Mutation("flag of a split unit", change_row(lambda r: r["flags"].append("split_unit")), "the flag split_unit", SESSION),
    Mutation("flag of a forced cut", change_row(lambda r: r["flags"].append("forced_cut")), "name the cuts forced_cut", SESSION),
    Mutation("flag of an augmented row", change_row(lambda r: r["flags"].append("augmented")), "has the flags augmented", SESSION),
    Mutation("unknown flag", change_row(lambda r: r["flags"].append("verified")), "has the flags verified", SESSION),
    Mutation("align_source", change_row(set_field("align_source", "ctc")), "align_source is ctc", SESSION),
    Mutation("a segment is left out", change_row(drop_segment), "on_lag is keep", SESSION),
    Mutation("a left-out segment is invented", change_row(lambda r: r["dropped"].append({"text": "hello", "start_s": 1.0, "end_s": 2.0, "n_tokens": 1, "first_word": 0, "n_words": 1})), "on_lag is keep", SESSION),
    Mutation("the last row is missing", change_rows(lambda rows: rows.pop()), "no row contains", SESSION),
    Mutation("a row is there twice", change_rows(lambda rows: rows.append(rows[-1])), "appears twice", SESSION),
    Mutation("two rows are exchanged", change_rows(swap_first_rows), "", OTHER_SESSION),
    Mutation("the tokens of two rows are exchanged", change_rows(swap_tokens), "", OTHER_SESSION),
    Mutation("a row of an unknown session", change_rows(lambda rows: rows.append({**rows[-1], "session_id": "Z1", "row_id": "Z1:A>B:000000"})), "of no session in storage", "Z1"),
    Mutation("segment text", change_segment(set_field("text", str.upper)), "its text is", SESSION),
    Mutation("segment start", change_segment(set_field("start_s", lambda s: s + 0.1)), "its words from", SESSION),
    Mutation("segment end", change_segment(set_field("end_s", lambda s: s + 0.5)), "its words from", SESSION),
    Mutation("segment kind", change_segment(set_field("kind", "interruption")), "is labelled interruption", SESSION),
    Mutation("segment overlap", change_segment(set_field("overlap", 0.75)), "overlap 0.750", SESSION),
    Mutation("floor offset", change_segment(set_field("floor_offset_s", 9.5)), "floor offset 9.5", SESSION),
    Mutation("lag of a segment", change_segment(set_field("lag_chunks", lambda n: n + 1)), "lag_chunks is", SESSION),
    Mutation("first chunk of a segment", change_segment(set_field("first_chunk", lambda n: n + 1)), "its tokens are recorded at", SESSION),
    Mutation("last slot of a segment", change_segment(set_field("last_k", lambda k: 1 - k)), "its tokens are recorded at", SESSION),
    Mutation("token count of a segment", change_segment(set_field("n_tokens", lambda n: n - 1)), "segment", SESSION),
    Mutation("first word of a segment", change_segment(set_field("first_word", lambda n: n + 1)), "expected word", SESSION),
    Mutation("leading space of a segment", change_segment(set_field("leading_space", lambda v: not v)), "its tokens decode to", SESSION),
    Mutation("text of a word in a row", change_word(set_field("word", "hello")), "does not match the stored word", SESSION),
    Mutation("time of a word in a row", change_word(set_field("start_s", lambda s: s - 0.01)), "does not match the stored word", SESSION),
    Mutation("chunk of a word", change_word(set_field("chunk", lambda n: n + 1)), "is recorded at", SESSION),
    Mutation("a token is counted to the wrong word", change_segment(shift_token_to_next_word), "its text has", SESSION),
]  # fmt: skip

SOUND = [
    Mutation("heard audio of the speakers swapped", swap_audio(HEARD), "not the same sound", "G0001"),
    Mutation("spoken audio of the speakers swapped", swap_audio(SPOKEN), "not the same sound", "G0002"),
    Mutation("audio of the speakers swapped at both rates", swap_audio(*BOTH), "has a peak of", "G0001"),
    *(
        Mutation(f"{name} audio {changed}", change_audio(change, (rate,)), message, "G0001")
        for rate, name in ((HEARD, "heard"), (SPOKEN, "spoken"))
        for change, changed, message in (
            (shift, "1 s late", "not the same sound"),
            (silence, "silenced", "not the same sound"),
            (silence_a_second, "silenced for a second", "not the same sound in 1 of"),
            (reverse, "reversed", "not the same sound"),
            (halve, "half as loud", "have different levels: "),
            (noise, "replaced by noise", "not the same sound"),
            (shorten, "half a second shorter", "the length of the session requires"),
            (make_stereo, "in stereo", "2 channels"),
        )
    ),
    Mutation("heard audio of another session", borrow_audio(HEARD), "not the same sound", "G0001"),
    Mutation("spoken audio of another session", borrow_audio(SPOKEN), "not the same sound", "G0001"),
    Mutation("audio half as loud at both rates", change_audio(halve, BOTH), "has a peak of", "G0001"),
    Mutation("audio silenced at both rates", change_audio(silence, BOTH), "has a peak of", "G0001"),
    Mutation("noise at both rates", change_audio(noise, BOTH), "has a peak of", "G0001"),
    Mutation("audio of another session at both rates", borrow_audio(*BOTH), "has a peak of", "G0001"),
]

TRACKS = [
    Mutation("peak", set_provenance("peak", 0.9), "its recording of 16000 Hz has 0.9000", "G0001"),
    Mutation("clipped samples", set_provenance("clipped_samples", 7), "has 7 clipped samples", "G0001"),
    Mutation("SHA-256 that is none", set_provenance("sha256", "unknown"), "the SHA-256 of its recording", "G0001"),
    Mutation("sample rate of the recording", set_provenance("rate_hz", 24_000), "its recording of 24000 Hz", "G0001"),
    Mutation("padding", set_provenance("padded_samples", 160_000), "where it is padded with silence", "G0001"),
    Mutation("the transcript is denied", set_provenance("transcript", None), "has no transcript", "G0001"),
    Mutation("an invented embedding", change_track(unit_vector), "the settings name no speaker model", "G0001"),
    Mutation("an embedding that is not a number", change_track(nan_vector), "speaker embedding", "G0001"),
    Mutation("cross-talk", change_track(add_bleed), "recorded are 5.00 s", "G0001"),
    Mutation("cross-talk is of nobody", change_track(lambda r: r["bleed"].clear()), "has cross-talk of []", "G0001"),
    Mutation("a gate that was not applied", change_track(add_gate), "where its speaker speaks", "G0001"),
    Mutation("speech of a transcribed track", change_track(add_speech), "speech found by the VAD", "G0001"),
    Mutation("codec codes", change_track(set_field("codes", [[0] * 64] * 10)), "codes", "G0001"),
    Mutation("an invented retiming", change_track(set_field("augmented", {"from": "X", "copy": 1, "edits": []})), "do not agree", SESSION),
    Mutation("length of the session", change_track(set_field("duration_samples", lambda n: n + 1)), "the length of the session requires", "G0001"),
    Mutation("the session is another", change_track(set_field("session_id", "X1")), "X1", SESSION),
    Mutation("the speaker is another", change_track(rename_speaker), "sides (listener, speaker)", SESSION),
    Mutation("a word", change_words(lambda words: words[3].update(word="hello")), "does not match the stored word", SESSION),
    Mutation("time of a word", change_words(lambda words: words[3].update(start=words[3]["start"] + 0.01)), "does not match the stored word", SESSION),
    Mutation("a word is missing", change_words(lambda words: words.pop(3)), "", SESSION),
    Mutation("two words are exchanged", change_words(swap_words), "does not match the stored word", SESSION),
    Mutation("unit of a word", change_words(lambda words: words[0].update(unit=1)), "unit numbers", SESSION),
    Mutation("space before a word", change_words(lambda words: words[1].update(space=False)), "its text is", SESSION),
    Mutation("origin of a word's times", change_words(lambda words: words[1].update(source="ctc")), "its words are mixed", SESSION),
    Mutation("an unknown origin of times", change_words(lambda words: [w.update(source="expert") for w in words]), "align_source", SESSION),
]  # fmt: skip

FILES = [
    Mutation("a stray Arrow file of rows", copy(str(TRAIN), "train/more.arrow"), "is not listed", "train/more.arrow", False),
    Mutation("a stray Arrow file of tracks", copy(STORAGE, "storage/Z.arrow"), "is not listed", "storage/Z.arrow", False),
    Mutation("bytes after the rows", append_bytes(str(TRAIN), b"x" * 9), "has 9 bytes after the end", str(TRAIN), False),
    Mutation("bytes after the tracks", append_bytes(STORAGE, b"x"), "has 1 byte after the end", STORAGE, False),
    Mutation("a table after the rows", append_table, "after the end of its Arrow stream", str(TRAIN), False),
    Mutation("a second file of the same rows", list_file(str(TRAIN), "train/more.arrow"), "out of order; the first is", OTHER_SESSION, False),
    Mutation("a second file of the same tracks", list_file(STORAGE, "storage/Z.arrow"), "contains session", "Z.arrow", False),
    Mutation("a session is not listed", change_json("storage/state.json", lambda d: d["_data_files"].pop()), "is not listed", STORAGE, False),
    Mutation("the rows are not listed", change_json("train/state.json", lambda d: d["_data_files"].pop()), "is not listed", str(TRAIN), False),
    Mutation("sessions in another order", change_json("storage/state.json", lambda d: d["_data_files"].reverse()), "is out of order", OTHER_SESSION, False),
    Mutation("a listed file of another folder", change_json("train/state.json", lambda d: d["_data_files"].append({"filename": "../storage/x.arrow"})), "", "x.arrow", False),
    Mutation("a stray Parquet file", copy(str(TRAIN), "train/more.parquet"), "is not listed", "train/more.parquet", False),
    Mutation("a column is lost", change_json("train/dataset_info.json", lambda d: d["features"].pop("flags")), "column flags is missing", "train/dataset_info.json", False),
    Mutation("a column is invented", change_json("train/dataset_info.json", lambda d: d["features"].update(score=d["features"]["n_chunks"])), "column score is not", "train/dataset_info.json", False),
    Mutation("type of a column", change_json("storage/dataset_info.json", lambda d: d["features"].update(duration_samples=d["features"]["session_id"])), "duration_samples has another type", "storage/dataset_info.json", False),
    Mutation("a file is listed twice", change_json("train/state.json", lambda d: d.update(_data_files=d["_data_files"] * 2)), "twice", "", False),
    Mutation("columns are hidden", change_json("train/state.json", lambda d: d.update(_format_columns=["row_id"])), "_format_columns is", "train/state.json", False),
    Mutation("another split name", change_json("train/state.json", lambda d: d.update(_split="test")), "is the state of split 'test'", "train/state.json", False),
    Mutation("a split is not listed", change_json("dataset_dict.json", lambda d: d.update(splits=["storage"])), "does not list train", "dataset_dict.json", False),
    Mutation("the card names another repository", replace_text("README.md", "path: train/*.arrow", "path: hf://datasets/other/data/*.arrow"), "not the listed files of train", "README.md", False),
    Mutation("the card mixes the tables", replace_text("README.md", "path: train/*.arrow", "path: '*/*.arrow'"), "not the listed files of train", "README.md", False),
    Mutation("the card names another split", replace_text("README.md", "split: train", "split: test"), "has a split test", "README.md", False),
    Mutation("words in the card", replace_text("README.md", "| words in rows | ", "| words in rows | 9"), "words in rows is", "README.md", False),
    Mutation("error in the card", replace_text("README.md", "latest | 0.0", "latest | 0.00"), "mean / p95 / latest is 0.00", "README.md", False),
    Mutation("tokenizer in the card", replace_text("README.md", "`builtin:qwen`", "`other/model`"), "tokenizer is", "README.md", False),
    Mutation("hours in the card", replace_text("README.md", " hours, ", "9 hours, "), "it describes 2 conversations", "README.md", False),
    Mutation("the card is missing", remove("README.md"), "is missing", "README.md", False),
    Mutation("a number of the page", replace_text("report.html", '"100.00%"', '"99.00%"'), "words in rows is 99.00%", "report.html", False),
    Mutation("a plot of the page", replace_text("report.html", '"values":[', '"values":[9'), "has other values", "report.html", False),
    Mutation("a table of the page", replace_text("report.html", '"text":"as recorded"', '"text":"resampled"'), "has other values", "report.html", False),
    Mutation("the verdict of the page", replace_text("report.html", '<span dir="auto">', '<span dir="auto">Nothing: '), "the verdict is not", "report.html", False),
    Mutation("a page of a row is missing", replace_text("report.html", '"pages":{}', '"pages":{"a":"inspect/a.html"}'), "links to inspect/a.html", "report.html", False),
    Mutation("the page is missing", remove("report.html"), "is missing", "report.html", False),
    Mutation("the ledger drops a session", replace_text("ledger.jsonl", '"status": "kept"', '"status": "dropped"'), "but it is in storage", "ledger.jsonl", False),
    Mutation("the ledger has another session", replace_text("ledger.jsonl", SESSION, "X1"), "X1 is kept, but it is not in storage", "ledger.jsonl", False),
    Mutation("failed sessions of the report", change_json("report.json", lambda d: d["sessions"].update(failed=3)), "report.json has 3", "ledger.jsonl", False),
    Mutation("a number of the report", change_json("report.json", lambda d: d["placement"].update(mean_error_s=0.0)), "placement.mean_error_s", "report.json", False),
    Mutation("tokens a second in the report", change_json("report.json", lambda d: d["text_rate"].update(tokens_a_second=1.0)), "text_rate.tokens_a_second", "report.json", False),
    Mutation("late tokens in the report", change_json("report.json", lambda d: d["text_rate"].update(late_share=0.5)), "text_rate.late_share", "report.json", False),
    Mutation("advised tokens a chunk", change_json("report.json", lambda d: d["text_rate"].update(advised_tokens_per_chunk=9)), "text_rate.advised_tokens_per_chunk", "report.json", False),
    Mutation("the digest of the rows", change_json("report.json", lambda d: d.update(rows_digest="0" * 32)), "rows_digest", "report.json", False),
    Mutation("the report is missing", remove("report.json"), "is missing", "report.json", False),
    Mutation("tokens per chunk of the settings", change_json("settings.json", lambda d: d["duplex"].update(text_tokens_per_chunk=4)), "", SESSION, False),
    Mutation("tokenizer of the settings", change_json("settings.json", lambda d: d["tokenizer"].update(fingerprint="0")), "tokenizer.fingerprint", "settings.json", False),
    Mutation("a session is missing", remove(STORAGE), "cannot be read", SESSION, False),
]  # fmt: skip

REWRITTEN = ("report.json", "README.md", "report.html")
"""Files that `rewrite_report` makes again from the changed tables."""

MUTATIONS = [*ROWS, *SOUND, *TRACKS, *FILES]

UNKNOWABLE = {
    "a word in storage and in its row, with the matching tokens": "the words are the truth; only the transcript differs",
    "the SHA-256 of a recording, replaced by another one": "the recording is not in the data set",
    "clipped samples 7 instead of 9": "only the recording has samples at its own rate",
    "an embedding of length 1 where a model made another": "the model is not in the data set; with it, it is found",
    "the ledger is missing": "an export and a copy from the hub have none",
    "a licence in the card": "a person adds it",
}
"""Mutations that no verification of the folder alone can find, with the reason. `--source` finds the first three."""


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    root = tmp_path_factory.mktemp("mutations")
    source = corpus.pair(corpus.short_demo(root / "corpus"), OTHER_SESSION, audio=12.0)
    build_duplex(source, root / "data", corpus.settings())
    assert verify(root / "data").problems == []
    return root / "data"


@pytest.fixture
def data(intact, tmp_path):
    """A copy to change."""
    return shutil.copytree(intact, tmp_path / "data", ignore=shutil.ignore_patterns(".sca"))


def problems_of(data):
    try:
        return verify(data).problems
    except InputError as error:
        return [error.message]


def found_without(data, *files):
    """Return the problems except those of files that can be rewritten to match."""
    return [problem for problem in problems_of(data) if not problem.startswith(files)]


@pytest.mark.parametrize("mutation", [pytest.param(one, id=one.name) for one in MUTATIONS])
def test_finds_mutation(data, mutation):
    """A problem of another file than those that the attacker rewrites is found after the rewriting too."""
    mutation.change(data)
    found = found_without(data, *REWRITTEN) if mutation.rewritten else problems_of(data)
    assert any(mutation.message in problem and mutation.place in problem for problem in found), found


@pytest.mark.parametrize("mutation", [pytest.param(one, id=one.name) for one in (ROWS[0], SOUND[0], TRACKS[0])])
def test_rewriting_report_and_card_hides_nothing(data, mutation):
    mutation.change(data)
    expected = found_without(data, *REWRITTEN)
    rewrite_report(data)
    assert problems_of(data) == expected != []


def test_rewriting_alone_changes_nothing(data):
    rewrite_report(data)
    assert verify(data).problems == []


def test_mutations_are_named_and_many():
    names = [mutation.name for mutation in MUTATIONS]
    assert len(set(names)) == len(names) >= 70
