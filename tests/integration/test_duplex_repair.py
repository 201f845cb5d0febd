"""Repairs: where the sound leaves no doubt, words and recordings are brought together; everything else stays as given."""

import json
import re
import shutil

import numpy as np
import pytest
import soundfile as sf
from typer.testing import CliRunner

from sca.cli.main import app
from sca.data.corpora.registry import open_corpus
from sca.data.duplex.build.dataset import build_duplex
from sca.data.duplex.build.repair import repaired
from sca.data.duplex.storage.reader import open_dataset
from sca.data.duplex.verify.dataset import verify
from tests.helpers import corpus

SESSION = "D0001_S0001_0"
TABLES = ("storage", "train")


def retimed(root, time):
    """Change the times of the transcripts and words of a corpus."""
    for path in (root / "TXT").iterdir():
        text = path.read_text()
        path.write_text(
            re.sub(
                r"^\[([\d.]+),([\d.]+)\]",
                lambda found: f"[{time(float(found[1])):.3f},{time(float(found[2])):.3f}]",
                text,
                flags=re.MULTILINE,
            )
        )
    for path in root.glob("WORDS/*"):
        words = json.loads(path.read_text())
        path.write_text(json.dumps([[word, time(start), time(end)] for word, start, end in words]))
    return root


def swapped(root):
    """Exchange the two recordings of every session of a corpus."""
    for session in {path.name.rsplit("_", 1)[0] for path in (root / "WAV").iterdir()}:
        first, second = sorted((root / "WAV").glob(f"{session}_*"))
        first.rename(root / "aside"), second.rename(first), (root / "aside").rename(second)
    return root


def without_words(root):
    shutil.rmtree(root / "WORDS")
    return root


DEFECTS = {
    "swapped": swapped,
    "1 s late": lambda root: retimed(root, lambda t: t + 1),
    "0.7 s early": lambda root: retimed(root, lambda t: max(0.0, t - 0.7)),
    "clock 8 % off": lambda root: retimed(root, lambda t: t * 0.92),
    "offset and drift": lambda root: retimed(root, lambda t: t * 0.97 + 1),
    "swapped and 1 s late": lambda root: swapped(retimed(root, lambda t: t + 1)),
}


def build(source, root, mode="apply", **settings):
    return build_duplex(source, root, corpus.settings(repair=mode, **settings)).details


def words_of(root, session=SESSION):
    return {
        track.record["speaker_id"]: np.array([(word["start"], word["end"]) for word in track.record["words"]])
        for track in open_dataset(root).tracks(session)
    }


def repairs_of(root, session=SESSION):
    return {
        track.record["speaker_id"]: track.record["provenance"]["repair"] for track in open_dataset(root).tracks(session)
    }


def tables(root):
    kept = corpus.tree_bytes(root)
    return {name: content for name, content in kept.items() if name.split("/")[0] in TABLES}


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    root = tmp_path_factory.mktemp("good")
    build(corpus.demo(root / "corpus"), root / "data", "suggest")
    return root / "data"


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_is_repaired(defect, good, tmp_path):
    source = DEFECTS[defect](corpus.demo(tmp_path / "corpus"))
    details = build(source, tmp_path / "data")
    assert details.report.evidence.verdict == "ok"
    assert {(track.session, track.speaker) for track in details.report.repaired} == {
        (SESSION, "G0001"),
        (SESSION, "G0002"),
    }
    true, found = words_of(good), words_of(tmp_path / "data")
    for speaker, times in true.items():
        assert found[speaker].shape == times.shape
        # The first word can begin before 0 with the defect, and loses its onset there.
        assert np.abs(found[speaker] - times)[1:].max() < 0.05
    result = verify(tmp_path / "data")
    assert result.holds, result.problems


@pytest.mark.parametrize("defect", ["swapped", "1 s late", "clock 8 % off", "offset and drift"])
def test_a_defect_without_word_times_is_repaired(defect, tmp_path):
    good = build(without_words(corpus.demo(tmp_path / "corpus")), tmp_path / "good")
    assert good.report.repaired == []
    source = DEFECTS[defect](without_words(corpus.demo(tmp_path / "bad")))
    assert len(build(source, tmp_path / "data").report.repaired) == 2
    true, found = words_of(tmp_path / "good"), words_of(tmp_path / "data")
    assert max(np.abs(found[speaker] - true[speaker]).max() for speaker in true) < 0.06


def test_a_swap_repaired_is_the_good_data(good, tmp_path):
    source = swapped(corpus.demo(tmp_path / "corpus"))
    report = build(source, tmp_path / "data").report
    assert report.rows_digest == json.loads((good / "report.json").read_text())["rows_digest"]
    repair = {"audio_of": "G0002", "offset_s": 0.0, "drift": 0.0}
    assert repairs_of(tmp_path / "data")["G0001"] == repair
    assert "1 session repaired: D0001_S0001_0: recordings exchanged" in (tmp_path / "data" / "README.md").read_text()
    assert "1 session repaired" in (tmp_path / "data" / "report.html").read_text()


def test_suggest_prints_the_repair(tmp_path):
    source = retimed(corpus.demo(tmp_path / "corpus"), lambda t: t + 1)
    run = CliRunner().invoke
    printed = run(app, ["build-duplex", str(source), "-o", str(tmp_path / "data"), "--quiet"]).stdout
    assert "repair: move the words of D0001_S0001_0 G0001 by -1.0" in printed
    assert "(build again with --repair apply)" in printed
    assert repairs_of(tmp_path / "data")["G0001"] is None
    options = ["--repair", "off", "--quiet"]
    printed = run(app, ["build-duplex", str(source), "-o", str(tmp_path / "off"), *options]).stdout
    assert "look here" in printed
    assert "repair: " not in printed
    options = ["--repair", "apply", "--quiet"]
    printed = run(app, ["build-duplex", str(source), "-o", str(tmp_path / "data"), *options]).stdout
    assert "1 session repaired: D0001_S0001_0: words of G0001 moved by -1.0" in printed


def test_good_data_has_the_same_bytes(good, tmp_path):
    source = corpus.demo(tmp_path / "corpus")
    for mode in ("off", "apply"):
        assert build(source, tmp_path / mode, mode).report.repaired == []
        assert tables(tmp_path / mode) == tables(good)


def test_another_choice_rebuilds_what_it_affects(good, tmp_path):
    source = corpus.demo(tmp_path / "corpus")
    for path in sorted(source.rglob("D0001*")):
        shutil.copy(path, path.with_name(path.name.replace("D0001", "D0002")))
    for path in (source / "WAV").glob("D0002*"):
        samples, rate = sf.read(path)
        sf.write(path, samples * 0.5, rate)
    first, second = sorted((source / "WAV").glob("D0002*"))
    first.rename(tmp_path / "aside"), second.rename(first), (tmp_path / "aside").rename(second)
    root = tmp_path / "data"
    assert build(source, root, "suggest").built == 2
    as_given = tables(root)
    assert build(source, root, "off").built == 0
    assert build(source, root, "apply").built == 1
    assert verify(root).holds
    applied = corpus.tree_bytes(root)
    assert build(source, root, "apply").built == 0
    assert corpus.tree_bytes(root) == applied
    assert build(source, tmp_path / "fresh", "apply").built == 2
    assert corpus.tree_bytes(tmp_path / "fresh") == applied
    assert build(source, root, "suggest").built == 1
    assert tables(root) == as_given


def foreign(root):
    """Give the speakers a transcript in another order of time, as if it were another session's."""
    ends = [
        float(end) for path in (root / "TXT").iterdir() for end in re.findall(r"^\[.*?,(.*?)\]", path.read_text(), re.M)
    ]
    for path in (root / "TXT").iterdir():
        lines = []
        for start, end, rest in re.findall(r"^\[(.*?),(.*?)\](.*)$", path.read_text(), re.M):
            lines.append((max(ends) - float(end), max(ends) - float(start), rest))
        path.write_text("".join(f"[{a:.3f},{b:.3f}]{rest}\n" for a, b, rest in sorted(lines)))
    shutil.rmtree(root / "WORDS")
    return root


def noise(root):
    path = min((root / "WAV").iterdir())
    samples, rate = sf.read(path)
    sf.write(path, np.random.default_rng(0).normal(0, 0.05, len(samples)), rate)
    return root


def one_mix_twice(root):
    first, second = sorted((root / "WAV").iterdir())
    (one, rate), (two, _) = sf.read(first), sf.read(second)
    for path in (first, second):
        sf.write(path, (one + two) / 2, rate)
    return root


def cut_recordings(root):
    """The transcript is longer than the recordings, and late."""
    for path in (root / "WAV").iterdir():
        samples, rate = sf.read(path)
        sf.write(path, samples[: 30 * rate], rate)
    return retimed(root, lambda t: t + 1)


def short(root):
    """Two utterances, late."""
    for path in (root / "TXT").iterdir():
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:1]))
    return retimed(without_words(root), lambda t: t + 1)


@pytest.mark.parametrize("defect", [foreign, noise, one_mix_twice, cut_recordings, short])
def test_nothing_else_is_repaired(defect, tmp_path):
    source = defect(corpus.demo(tmp_path / "corpus"))
    suggested = build(source, tmp_path / "data", "suggest").report
    assert suggested.evidence.findings
    assert not any(finding.repair for finding in suggested.evidence.findings)
    assert build(source, tmp_path / "applied").report.repaired == []
    assert tables(tmp_path / "applied") == tables(tmp_path / "data")


def test_three_speakers_are_not_repaired(tmp_path):
    source = swapped(corpus.demo(tmp_path / "corpus"))
    quiet = np.random.default_rng(0).normal(0, 1e-3, 16_000 * 122)
    corpus.write_track(source, f"{SESSION}_G0003", [(1.0, 1.5, "yes")], quiet)
    assert build(source, tmp_path / "data").report.repaired == []


def test_augmented_copies_are_of_the_repaired_session(good, tmp_path):
    source = retimed(corpus.demo(tmp_path / "corpus"), lambda t: t + 1)
    settings = corpus.settings(repair="apply")
    settings = settings.model_copy(update={"augment": settings.augment.model_copy(update={"copies": 1})})
    report = build_duplex(source, tmp_path / "data", settings).details.report
    assert report.augmented.sessions == 1
    assert len(report.repaired) == 2
    assert repairs_of(tmp_path / "data", f"{SESSION}+1") == repairs_of(tmp_path / "data")
    result = verify(tmp_path / "data")
    assert result.holds, result.problems


def test_gated_cross_talk_does_not_hide_a_swap(good, tmp_path):
    source = corpus.demo(tmp_path / "corpus")
    first, second = sorted((source / "WAV").iterdir())
    (one, rate), (two, _) = sf.read(first), sf.read(second)
    sf.write(first, one + 0.01 * two, rate), sf.write(second, two + 0.01 * one, rate)
    details = build(swapped(source), tmp_path / "given", "suggest", on_bleed="gate")
    assert any("exchange the two recordings" in notice and "silenced speech" in notice for notice in details.notices)
    details = build(source, tmp_path / "data", on_bleed="gate")
    assert {track.audio_of for track in details.report.repaired} == {"G0001", "G0002"}
    result = verify(tmp_path / "data")
    assert result.holds, result.problems


def test_a_repair_reaches_every_part_of_a_track(tmp_path):
    conversation = open_corpus(corpus.demo(tmp_path / "corpus")).sessions().sources[0].read()
    first, second = conversation.tracks
    repair = {"audio_of": second.speaker_id, "offset_s": -1.0, "drift": 0.5}
    moved = repaired(conversation, {first.speaker_id: repair}).tracks
    assert moved[1] == second
    assert (moved[0].audio, moved[0].speaker_id) == (second.audio, first.speaker_id)
    for before, after in zip(first.words, moved[0].words, strict=True):
        assert after.start == pytest.approx(max(0, before.start * 1.5 - 16_000), abs=1)


def test_verify_refuses_a_repair_that_the_sound_contradicts(tmp_path):
    source = swapped(corpus.demo(tmp_path / "corpus"))
    root = tmp_path / "data"
    build(source, root)
    settings = json.loads((root / "settings.json").read_text())
    del settings["duplex"]["repair"]
    (root / "settings.json").write_text(json.dumps(settings))
    assert any("settings have repair = suggest" in problem for problem in verify(root).problems)
