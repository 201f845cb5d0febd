"""Speech without words is not taught as silence: from the recording to the labels, in the proof and in every export."""

import json
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile as sf
from typer.testing import CliRunner

import sca
from sca.cli.main import app
from sca.config import load_settings
from sca.data.datasets.arrow import iter_batches
from sca.data.duplex.audio.vad_spans import listen
from sca.data.duplex.build.dataset import build_duplex
from sca.data.duplex.evidence.overlap import intersect
from sca.data.duplex.load.collate import DuplexCollator
from sca.data.duplex.load.dataset import load
from sca.data.duplex.storage.reader import open_dataset
from sca.data.duplex.verify.dataset import verify
from sca.data.export.run import export
from sca.errors import OutputError
from sca.spans import merge_spans
from sca.tokenizer import load_tokenizer
from tests.helpers import corpus
from tests.helpers.duplex_files import TRAIN, put_rows, rows_of
from tests.helpers.duplex_mutations import change_rows, change_track, rewrite_report
from tests.helpers.transcript_shapes import chat, with_stereo

SESSION, SPEAKER, OTHER = "D0001_S0001_0", "G0001", "G0002"
CHUNK = 5120
# Lines of the demo conversation that are removed; the other speaker's lines are all there.
REMOVED = (2, 4, 6, 7)


def lines_of(root, speaker):
    path = root / "TXT" / f"{SESSION}_{speaker}.txt"
    return path, path.read_text(encoding="utf-8").splitlines()


def times_of(line):
    start, end = line[1:].split("]")[0].split(",")
    return float(start), float(end)


def half_transcribed(root):
    """Write the demo conversation without some lines of one speaker, and return the times of these lines."""
    corpus.demo(root)
    path, lines = lines_of(root, SPEAKER)
    path.write_text("\n".join(line for n, line in enumerate(lines) if n not in REMOVED) + "\n", encoding="utf-8")
    return [times_of(lines[n]) for n in REMOVED]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    root = tmp_path_factory.mktemp("unlabelled")
    removed = half_transcribed(root / "corpus")
    return build_duplex(root / "corpus", root / "data", corpus.settings()).details.report, root / "data", removed


@pytest.fixture
def data(built, tmp_path):
    """A copy of the data set, to be changed."""
    return corpus.copy_of(built[1], tmp_path / "data")


def labels_of(rows):
    return DuplexCollator(load_tokenizer("builtin:qwen"))(rows)["labels"].numpy()


def silent_chunks(data, speaker=SPEAKER):
    """Return the chunks of the session in which a silence token of the speaker is a label."""
    chunks = set()
    for row in load(data):
        if not row.row_id.split(":")[1].endswith(f">{speaker}"):
            continue
        first = int(row.row_id.rsplit(":", 1)[1])
        labels = labels_of([row])[0]
        chunk = np.cumsum(row.input_ids == row.placeholder) // 4 - 1
        after_audio = np.roll(row.input_ids == row.placeholder, 1)  # the only token of a silent chunk
        chunks |= {first + int(chunk[at]) for at in np.flatnonzero(after_audio & (labels == row.silence_id))}
    return chunks


def test_speech_without_words_is_not_silence(built):
    report, data, removed = built
    silent = silent_chunks(data)
    (track,) = [t for t in open_dataset(data).tracks(SESSION) if t.record["speaker_id"] == SPEAKER]
    lines = [(round(first * 16_000), round(last * 16_000)) for first, last in removed]
    spoken = intersect(merge_spans(listen(track.heard).speech), lines)
    heard = {chunk for start, end in spoken for chunk in range(start // CHUNK, -(-end // CHUNK))}
    assert len(heard) > 40
    assert sum(chunk - 1 not in silent for chunk in heard) >= 0.95 * len(heard)
    assert report.unlabelled.speech_s == pytest.approx(sum(end - start for start, end in removed), rel=0.25)
    assert report.unlabelled.chunks == pytest.approx(report.unlabelled.speech_s / 0.32, rel=0.15)
    assert [finding.kind for finding in report.evidence.findings] == ["unlabelled_speech"]


def test_labels_of_words_and_of_other_silence_remain(built):
    _, data, removed = built
    for row in load(data):
        labels = labels_of([row])[0]
        masked = {chunk for first, end in row.unlabelled for chunk in range(first, end)}
        chunk = np.cumsum(row.input_ids == row.placeholder) // 4 - 1
        answer = (row.input_ids != row.placeholder) & (chunk >= 0)
        left_out = np.flatnonzero(answer & (labels == -100))
        assert {int(chunk[at]) for at in left_out} == masked
        assert (row.input_ids[left_out] == row.silence_id).all()
        assert (labels[answer & (row.input_ids != row.silence_id)] != -100).all()
    silent = silent_chunks(data)
    apart = [(last, first) for (_, last), (first, _) in pairwise(removed) if first - last > 3]
    assert all(any(last < chunk * 0.32 < first for chunk in silent) for last, first in apart)


def test_good_data_has_no_chunk_without_labels(tmp_path):
    """With its digests as before speech without words was looked for."""
    report = build_duplex(corpus.demo(tmp_path / "c"), tmp_path / "data", corpus.settings()).details.report
    assert report.unlabelled.model_dump() == {"speech_s": 0.0, "by_reason": {}, "chunks": 0, "chunks_s": 0.0}
    assert report.rows_digest.startswith("d818daab")
    assert not any(row["unlabelled"] for row in rows_of(tmp_path / "data"))


def test_verify_and_page_and_card_have_the_same_numbers(built):
    report, data, _ = built
    checked = verify(data)
    assert checked.holds
    found = f"{report.unlabelled.speech_s:.2f} s, {report.unlabelled.chunks} chunks"
    assert any(check.name == "unlabelled speech" and check.found.startswith(found) for check in checked.checks)
    assert f"| unlabelled speech | {found}" in (data / "README.md").read_text()
    assert "unlabelled speech" in (data / "report.html").read_text()
    shown = CliRunner().invoke(app, ["inspect", str(data), f"{SESSION}:{OTHER}>{SPEAKER}:000000"]).output
    assert "?       ?       ?" in shown


def clear_rows(rows):
    for row in rows:
        row["unlabelled"] = []


def clear_track(record):
    record["unlabelled"] = []


def label_everything(data):
    change_track(clear_track)(data)
    change_rows(clear_rows)(data)


def mask_everything(data):
    change_track(lambda record: record["unlabelled"].append({"start": 0.0, "end": 60.0, "reason": "speech"}))(data)


def shift_ranges(rows):
    row = next(row for row in rows if row["unlabelled"])
    row["unlabelled"][0] = {"first": row["unlabelled"][0]["first"] + 1, "end": row["unlabelled"][0]["end"]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (label_everything, "of speech without words are not in unlabelled, and taught as silence"),
        (change_rows(clear_rows), "0 chunks without labels"),
        (change_rows(shift_ranges), "without labels"),
        (mask_everything, "of unlabelled are not speech without words"),
    ],
)
def test_verify_finds_changed_labels(data, change, message):
    change(data)
    rewrite_report(data)
    assert any(message in problem for problem in verify(data).problems)


def test_edges_of_the_vad_are_tolerated(data):
    """Processors differ in the last bits of its probabilities. Rows and tracks have to agree anyway."""
    report = json.loads((data / "report.json").read_text())

    def move(record):
        for span in record["unlabelled"]:
            span["start"] += 0.032

    change_track(move)(data)
    problems = verify(data).problems
    assert not any("speech without words are not" in problem for problem in problems)
    assert any("report.json" in problem for problem in problems)
    assert report["unlabelled"]["speech_s"]


def test_keep_labels_it_as_silence(tmp_path):
    half_transcribed(tmp_path / "c")
    report = build_duplex(tmp_path / "c", tmp_path / "data", corpus.settings(unlabelled_speech="keep")).details.report
    assert report.unlabelled.chunks == 0
    assert report.evidence.findings
    assert verify(tmp_path / "data").holds
    assert "unlabelled_speech" not in (tmp_path / "data" / "settings.json").read_text()


def test_unknown_speech_in_chat_is_not_labelled(tmp_path):
    first = next(line for line in chat().splitlines() if line.startswith("*A:"))
    start_ms, end_ms = map(int, first.split("\x15")[1].split("_"))
    with_stereo("a.cha", chat().replace(first, f"*A:\txxx .\x15{start_ms}_{end_ms}\x15"))(tmp_path / "c")
    build_duplex(tmp_path / "c", tmp_path / "data", corpus.settings())
    reader = open_dataset(tmp_path / "data")
    tracks = [track.record for session in reader.sessions for track in reader.tracks(session)]
    (own,) = [track for track in tracks if any(span["reason"] == "unintelligible" for span in track["unlabelled"])]
    marks = [span for span in own["unlabelled"] if span["reason"] == "unintelligible"]
    assert marks == [{"start": start_ms / 1000, "end": end_ms / 1000, "reason": "unintelligible"}]
    (row,) = [row for row in rows_of(tmp_path / "data") if row["speaker"] == own["speaker_id"]]
    assert row["unlabelled"][0]["first"] * CHUNK <= start_ms * 16 < row["unlabelled"][0]["end"] * CHUNK
    assert verify(tmp_path / "data").holds


def test_transcript_that_continues_after_the_recording(tmp_path):
    """Neither the words nor silence are learned where the speaker was not recorded."""
    source = corpus.demo(tmp_path / "c")
    recording = source / "WAV" / f"{SESSION}_{SPEAKER}.flac"
    samples, rate = sf.read(recording, dtype="int16")
    end_s = 30.0
    sf.write(recording, samples[: round(end_s * rate)], rate, subtype="PCM_16")
    report = build_duplex(source, tmp_path / "data", corpus.settings()).details.report
    assert set(report.unlabelled.by_reason) == {"past_end"}
    last = max(row["start_chunk"] + row["n_chunks"] for row in rows_of(tmp_path / "data"))
    # The last chunk is about a word after the end of the session.
    assert max(silent_chunks(tmp_path / "data") - {last - 1}) <= end_s / 0.32
    assert verify(tmp_path / "data").holds


def test_unintelligible_speech_is_not_silence(tmp_path):
    source = corpus.demo(tmp_path / "c")
    path, lines = lines_of(source, SPEAKER)
    first, second = (times_of(lines[n]) for n in (0, 5))
    lines[0] = lines[0].rsplit("\t", 1)[0] + "\t[*]"
    lines[5] = lines[5].rsplit("\t", 1)[0] + "\tPeople (( )) penguin."
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    shutil.rmtree(source / "WORDS")
    report = build_duplex(source, tmp_path / "data", corpus.settings()).details.report
    assert report.unlabelled.by_reason["unintelligible"] == pytest.approx(first[1] - first[0] + second[1] - second[0])
    silent = silent_chunks(tmp_path / "data")
    for start, end in (first, second):
        assert not any(start <= (chunk + 1) * 0.32 < end - 0.32 for chunk in silent)
    assert any("penguin" in segment["text"] for row in rows_of(tmp_path / "data") for segment in row["segments"])
    assert verify(tmp_path / "data").holds


def test_segments_left_out_are_counted_and_not_silence(tmp_path):
    """So many words in half a second do not fit: the segment is left out, and its chunks are no labels."""
    fast = "one two three four five six seven eight nine ten eleven twelve and so on until all is said"
    corpus.write_track(tmp_path / "c", "A_S_G1", [(1.0, 2.0, "hello"), (4.0, 4.6, fast)], 8.0)
    corpus.write_track(tmp_path / "c", "A_S_G2", [(6.0, 7.0, "good")], 8.0)
    arguments = ["build-duplex", str(tmp_path / "c"), "-o", str(tmp_path / "data"), "--on-lag", "drop-unit"]
    shown = CliRunner().invoke(app, arguments).output
    rows = [row for row in rows_of(tmp_path / "data") if row["dropped"]]
    assert len(rows) == 1
    assert {"first": 11, "end": 14} in rows[0]["unlabelled"]
    n_tokens = rows[0]["dropped"][0]["n_tokens"]
    assert f"{n_tokens} dropped" in shown
    checked = CliRunner().invoke(app, ["verify", str(tmp_path / "data")]).output
    assert f"{n_tokens}, {n_tokens} of them on request" in " ".join(checked.split())
    assert f"tokens, dropped or left out | 2, {n_tokens} |" in (tmp_path / "data" / "README.md").read_text()
    page = (tmp_path / "data" / "report.html").read_text()
    assert f'["tokens dropped or left out","{n_tokens}"]' in page
    assert verify(tmp_path / "data").holds


def test_untranscribed_reply_during_the_other_speaker(tmp_path):
    """Speech while the other speaks is the speaker's own, unless the other is audible in the track."""
    source = corpus.demo(tmp_path / "c")
    quiet, spoken = (source / "WAV" / f"{SESSION}_{speaker}.flac" for speaker in (OTHER, SPEAKER))
    samples, rate = sf.read(quiet, dtype="float32")
    other, _ = sf.read(spoken, dtype="float32")
    _, lines = lines_of(source, SPEAKER)
    start, end = times_of(lines[4])  # 6 s of one speaker; the other now says something else at the same time
    first, length = round(start * rate), round((end - start) * rate)
    _, theirs = lines_of(source, OTHER)
    said = round(times_of(theirs[1])[0] * rate)
    changed = samples.copy()
    changed[first : first + length] += samples[said : said + length]
    sf.write(quiet, changed, rate, subtype="PCM_16")
    report = build_duplex(source, tmp_path / "data", corpus.settings()).details.report
    assert report.unlabelled.speech_s > 1.0
    mixed = samples.copy()
    mixed[: len(other)] += 0.3 * other[: len(mixed)]
    sf.write(quiet, mixed, rate, subtype="PCM_16")
    report = build_duplex(source, tmp_path / "bleed", corpus.settings()).details.report
    assert report.bleed.share > 0.5
    assert report.unlabelled.speech_s < 0.5


def test_swapped_recordings_are_still_a_finding(tmp_path):
    source = corpus.demo(tmp_path / "c")
    one, two = (source / "WAV" / f"{SESSION}_{speaker}.flac" for speaker in (SPEAKER, OTHER))
    one.rename(tmp_path / "x.flac")
    two.rename(one)
    (tmp_path / "x.flac").rename(two)
    report = build_duplex(source, tmp_path / "data", corpus.settings()).details.report
    assert [finding.kind for finding in report.evidence.findings] == ["swapped"]


def test_listener_labels_are_not_silence_either(built):
    _, data, removed = built
    tokenizer = load_tokenizer("builtin:qwen")
    for row in load(data):
        if row.row_id.split(":")[1] != f"{SPEAKER}>{OTHER}":
            assert row.listener_unlabelled == ()
            continue
        labels = DuplexCollator(tokenizer, listener_text=True)([row])["listener_labels"][0].numpy()
        chunk = np.cumsum(row.input_ids == row.placeholder) // 4
        first_s = int(row.row_id.rsplit(":", 1)[1]) * 0.32
        for start, end in row.listener_unlabelled:
            assert any(a - 0.5 < start + first_s and end + first_s < b + 0.5 for a, b in removed)
            inside = (chunk * 0.32 > start + 0.32) & (chunk * 0.32 < end) & (row.input_ids == row.placeholder)
            assert (labels[inside] != row.silence_id).all()


@pytest.mark.parametrize("kind", ["parquet", "webdataset"])
def test_exports_have_the_same_labels(built, tmp_path, kind):
    _, data, _ = built
    export(data, tmp_path / kind, kind, shard_bytes=1 << 30)
    assert verify(tmp_path / kind).holds
    here, there = load(data), load(tmp_path / kind)
    assert any(row.unlabelled for row in here)
    assert [row.unlabelled for row in here] == [row.unlabelled for row in there]
    assert [row.listener_unlabelled for row in here] == [row.listener_unlabelled for row in there]
    assert (labels_of(list(here)) == labels_of(list(there))).all()
    positions = [example.unlabelled_idxs for example in sca.easy_load(tmp_path / kind, format="duplex")]
    assert [len(found) for found in positions] == [sum(end - a for a, end in row.unlabelled) for row in here]


def test_retimed_copies_are_not_taught_silence_either(tmp_path):
    half_transcribed(tmp_path / "c")
    settings = load_settings(overrides={"duplex.model_path": "builtin:qwen", "augment.copies": 1}, env={})
    report = build_duplex(tmp_path / "c", tmp_path / "data", settings).details.report
    assert report.augmented.sessions == 1
    assert verify(tmp_path / "data").holds
    masked = dict.fromkeys((SESSION, f"{SESSION}+1"), 0)
    for row in rows_of(tmp_path / "data"):
        masked[row["session_id"]] += sum(part["end"] - part["first"] for part in row["unlabelled"])
    assert masked[f"{SESSION}+1"] == pytest.approx(masked[SESSION], rel=0.3)


def without_the_column(file: Path) -> None:
    """Rewrite an Arrow file as earlier versions wrote it."""
    batches = list(iter_batches(file))
    kept = [name for name in batches[0].schema.names if name != "unlabelled"]
    schema = pa.schema([batches[0].schema.field(name) for name in kept])
    old = [pa.RecordBatch.from_arrays([batch.column(name) for name in kept], schema=schema) for batch in batches]
    with pa.OSFile(str(file) + ".old", "wb") as sink, pa.ipc.new_stream(sink, schema) as out:
        for batch in old:
            out.write_batch(batch)
    Path(f"{file}.old").replace(file)


def make_old(data: Path) -> None:
    for file in (data / TRAIN, *data.glob("storage/*.arrow"), *data.glob(".sca/rows/*.arrow")):
        without_the_column(file)
    for info in data.glob("*/dataset_info.json"):
        document = json.loads(info.read_text())
        document["features"].pop("unlabelled")
        info.write_text(json.dumps(document))
    report = json.loads((data / "report.json").read_text())
    report.pop("unlabelled")
    (data / "report.json").write_text(json.dumps(report))


def test_data_sets_of_earlier_versions(tmp_path):
    """They load, verify, export and train as before. A build that would label them differently is refused."""
    half_transcribed(tmp_path / "c")
    keep = corpus.settings(unlabelled_speech="keep")
    build_duplex(tmp_path / "c", tmp_path / "data", keep)
    make_old(tmp_path / "data")
    checked = verify(tmp_path / "data")
    assert [problem for problem in checked.problems if "README.md" not in problem and ".html" not in problem] == []
    assert (labels_of(list(load(tmp_path / "data"))) != -100).any()
    with pytest.raises(OutputError, match=r"duplex\.unlabelled_speech 'keep', now 'mask'"):
        build_duplex(tmp_path / "c", tmp_path / "data", corpus.settings())
    export(tmp_path / "data", tmp_path / "parquet", "parquet", shard_bytes=1 << 30)
    assert verify(tmp_path / "parquet").holds
    corpus.pair(tmp_path / "c")
    assert build_duplex(tmp_path / "c", tmp_path / "data", keep).details.built == 1
    assert verify(tmp_path / "data").holds
    put_rows(tmp_path / "data", rows_of(tmp_path / "data"))
