"""The notebooks of the documentation run, and what they display is bounded, escaped, and plays the stored sound."""

import ast
import base64
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sca.data.corpora.base import Conversation, Track, Utterance
from sca.data.runs.summary import ItemReason, RunSummary
from sca.data.transcription.transcribe import TranscribeDetails
from sca.display.blocks import table
from sca.display.sound import MAX_SOUND_S, SOUND_HZ, player
from sca.timeline import Show
from tests.helpers.corpus import tone
from tests.helpers.markdown import ROOT

NOTEBOOKS = ROOT / "docs" / "notebooks"
HOSTILE = "<script>alert(1)</script>\n\x1b[31m"


def run(name):
    """Run the cells of a notebook in one namespace; return it, and what the cells display."""
    document = json.loads((NOTEBOOKS / name).read_text(encoding="utf-8"))
    space, displayed = {}, []
    for cell in document["cells"]:
        if cell["cell_type"] != "code":
            continue
        assert cell["outputs"] == [], "commit notebooks without outputs"
        tree = ast.parse("".join(cell["source"]))
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, name, "exec"), space)
        if last is not None:
            displayed.append(eval(compile(ast.Expression(last.value), name, "eval"), space))
    return space, displayed


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("notebooks")


@pytest.fixture(scope="module")
def built(folder):
    """The namespace of the first notebook, and what it displays; the data set is in `folder`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield run("build_and_look.ipynb")


def sounds(html):
    """The sounds in a block, as `(samples, channels)`."""
    found = re.findall(r'src="data:audio/wav;base64,([^"]+)"', html)
    return [soundfile.read(io.BytesIO(base64.b64decode(one)), always_2d=True) for one in found]


def test_builds_and_displays_a_data_set(built):
    _, displayed = built
    conversation, summary, verification, row, text = displayed
    assert [len(sounds(one._repr_html_())) for one in (conversation, summary, verification, row)] == [1, 1, 0, 1]
    assert verification.holds
    assert repr(verification).startswith("<Verification: my_data, holds")
    assert repr(summary).startswith("<RunSummary: 1 made, 0 done before")
    assert row.segments[0]["text"].split()[0] in text
    assert "words against sound" in verification._repr_html_()
    assert repr(summary.details.report).startswith("<Report: 1 session")
    assert "coverage" in summary.details.report._repr_html_()
    for one in (*displayed[:4], summary.details.report):
        assert "\n" not in repr(one)
        assert len(repr(one)) < 200


def test_a_row_plays_what_is_heard_and_spoken(built):
    space, _ = built
    row = space["row"]
    ((samples, rate),) = sounds(row._repr_html_())
    n = min(row.heard.size, MAX_SOUND_S * SOUND_HZ)
    assert (rate, samples.shape) == (SOUND_HZ, (n, 2))
    assert np.abs(samples[:, 0] - row.heard.ravel()[:n]).max() < 2 / 32768
    spoken = np.sqrt(np.mean(row.spoken.ravel()[: n * 3 // 2] ** 2))
    assert np.sqrt(np.mean(samples[:, 1] ** 2)) == pytest.approx(spoken, rel=0.1)


def test_makes_a_training_batch(built, folder, monkeypatch):
    monkeypatch.chdir(folder)
    _, displayed = run("training_batch.ipynb")
    rows, shapes, shares, loss = displayed
    assert repr(rows) == f"<DuplexDataset: my_data, train, {len(rows)} rows of 1 session>"
    assert len(sounds(rows._repr_html_())) == 1
    assert shapes["input_ids"][0] == 2
    assert 0 < shares["labels"] < 1
    assert 0 < loss < 1


def test_text_is_escaped(built, tmp_path):
    row = built[0]["row"]
    hostile = replace(row, row_id=HOSTILE, segments=[{**row.segments[0], "text": HOSTILE}])
    track = Track(HOSTILE, tmp_path / HOSTILE[:8], None, (Utterance(0, 16000, HOSTILE),))
    show = Show.model_validate({
        "video_id": HOSTILE, "timeline": [{"start": 0, "end": 1, "role": "comedian", "content": HOSTILE}],
    })  # fmt: skip
    summary = RunSummary(None, failed=[ItemReason(HOSTILE, HOSTILE)])
    for one in (hostile, Conversation(HOSTILE, (track,)), show, summary):
        html = one._repr_html_()
        assert "&lt;script&gt;alert(1)" in html
        assert "<script" not in html
        assert not {"\x1b", "\n"} & set(html + repr(one))


def test_sound_and_tables_are_bounded():
    html = player(tone(MAX_SOUND_S + 5), tone(3))
    ((samples, _),) = sounds(html)
    assert len(samples) == MAX_SOUND_S * SOUND_HZ
    assert not samples[3 * SOUND_HZ :, 1].any()
    assert f"the first {MAX_SOUND_S} s of {MAX_SOUND_S + 5}.0 s" in html
    assert len(html) < 3_000_000
    assert table(["n"], ([n] for n in range(1000)), 1000).count("<tr>") == 21
    assert len(table(["text"], [["x" * 10_000]], 1)) < 500


def test_a_recording_that_cannot_be_read_is_named(tmp_path):
    track = Track("A", tmp_path / "missing.wav", None, ())
    assert "missing.wav" in Conversation("s", (track,))._repr_html_()


def test_a_transcription_plays_its_first_recording(tmp_path):
    recording, lines = tmp_path / "talk.wav", tmp_path / "shows.jsonl"
    soundfile.write(recording, tone(2.0), SOUND_HZ)
    event = {"start": 0.5, "end": 1.5, "role": "comedian", "content": "Good evening."}
    lines.write_text(json.dumps({"video_id": "talk", "timeline": [event]}) + "\n")
    details = TranscribeDetails(lines, recordings={"talk": recording})
    html = RunSummary(details)._repr_html_()
    ((samples, _),) = sounds(html)
    assert len(samples) == 2 * SOUND_HZ
    assert "Good evening." in html
    assert sounds(TranscribeDetails(Path("absent.jsonl"))._repr_html_()) == []
