"""`sca verify --source` compares a data set with its corpus, and finds what no verification of the data alone can."""

import json
import shutil
from dataclasses import dataclass

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from sca.audio.resample import resample
from sca.cli.main import app
from sca.data.duplex.build.dataset import build_duplex
from sca.data.duplex.origin.rebuild import sessions_of_corpus
from sca.data.duplex.verify.dataset import verify
from sca.data.export.run import export
from tests.helpers import corpus
from tests.helpers.duplex_mutations import (
    HEARD,
    OTHER_SESSION,
    SESSION,
    SPOKEN,
    Change,
    and_provenance,
    borrow_audio,
    change_audio,
    change_track,
    rewrite_report,
    swap_audio,
)

BOTH = (HEARD, SPOKEN)
WORDS = f"WORDS/{SESSION}_G0001.json"
TEXT = f"TXT/{SESSION}_G0001.txt"


@dataclass(frozen=True)
class Rewritten:
    """A change of both rates alike, after which provenance, report, card and page are rewritten to match.

    Attributes:
        name: What is changed.
        change: Makes the change.
        look: The kind of place to look at that `sca verify` finds without the corpus, or nothing.
        broken: Whether it finds a problem without the corpus. Speech in other places is not what the masks say.
    """

    name: str
    change: Change
    look: str
    broken: bool = False


def silence(samples, rate_hz):
    return np.zeros_like(samples)


def shift(samples, rate_hz):
    return np.concatenate([np.zeros(rate_hz, np.int16), samples[:-rate_hz]])


def reverse(samples, rate_hz):
    return samples[::-1].copy()


def halve(samples, rate_hz):
    return samples // 2


def noise(samples, rate_hz):
    """Return the same noise at both rates."""
    wide = np.random.default_rng(0).normal(0, 0.05, len(samples) * 48_000 // rate_hz).astype(np.float32)
    return (np.resize(resample(wide, 48_000, rate_hz), len(samples)) * 32767).astype(np.int16)


def silence_a_word(samples, rate_hz):
    changed = samples.copy()
    changed[5 * rate_hz : 5 * rate_hz + rate_hz // 2] = 0
    return changed


BOTH_RATES = [
    Rewritten("silenced", change_audio(silence, BOTH), "no_speech", broken=True),
    Rewritten("reversed", change_audio(reverse, BOTH), "mismatch", broken=True),
    Rewritten("1 s late", change_audio(shift, BOTH), "offset", broken=True),
    Rewritten("speakers swapped", swap_audio(*BOTH), "swapped", broken=True),
    Rewritten("replaced by noise", change_audio(noise, BOTH), "no_speech"),
    Rewritten("of another session", borrow_audio(*BOTH), "no_speech"),
    Rewritten("half as loud", change_audio(halve, BOTH), ""),
    Rewritten("half a second silenced", change_audio(silence_a_word, BOTH), ""),
]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return corpus.pair(corpus.short_demo(tmp_path_factory.mktemp("source") / "corpus"), OTHER_SESSION, audio=12.0)


@pytest.fixture(scope="module")
def origin(source):
    return sessions_of_corpus(source)


@pytest.fixture(scope="module")
def intact(source, tmp_path_factory):
    root = tmp_path_factory.mktemp("source_data")
    build_duplex(source, root / "data", corpus.settings())
    return root / "data"


@pytest.fixture
def data(intact, tmp_path):
    """A copy to change, without the record of the build."""
    return shutil.copytree(intact, tmp_path / "data", ignore=shutil.ignore_patterns(".sca"))


def line(verification):
    return next(check for check in verification.checks if check.name == "source")


def test_good_data_is_as_in_its_corpus(data, origin):
    found = verify(data, origin=origin, jobs=2)
    assert found.problems == []
    assert line(found).found == "words and samples of 2 sessions as in the corpus"
    assert not line(found).look


@pytest.mark.parametrize("mutation", [pytest.param(one, id=one.name) for one in BOTH_RATES])
def test_audio_changed_at_both_rates(data, origin, mutation):
    and_provenance(mutation.change)(data)
    rewrite_report(data)
    alone, compared = verify(data), verify(data, origin=origin)
    kinds = {finding.kind for finding in alone.findings if finding.session == SESSION}
    assert alone.holds != mutation.broken
    assert kinds == ({mutation.look} if mutation.look else set())
    assert any(f"{SESSION} G0001: the 16 kHz track is not its recording in" in one for one in compared.problems)
    assert any(f"{SESSION} G0001: the 24 kHz track is not its recording in" in one for one in compared.problems)


def change_text(old, new):
    def changed(root):
        text = (root / TEXT).read_text(encoding="utf-8")
        assert old in text
        (root / TEXT).write_text(text.replace(old, new, 1), encoding="utf-8")

    return changed


def move_word(root):
    words = json.loads((root / WORDS).read_text())
    words[3][2] -= 0.01
    (root / WORDS).write_text(json.dumps(words))


def drop_line(root):
    lines = (root / TEXT).read_text(encoding="utf-8").splitlines(keepends=True)
    (root / TEXT).write_text("".join(lines[:-1]), encoding="utf-8")


def soften(root):
    path = next((root / "WAV").glob(f"{SESSION}_G0001.*"))
    samples, rate_hz = soundfile.read(path, dtype="int16")
    soundfile.write(path, samples - np.sign(samples), rate_hz)


OTHER_CORPORA = [
    ("a word", lambda root: change_text(first_word(root), "other")(root), "G0001: word 0 is"),
    ("time of a word", move_word, "G0001: word 3 is"),
    ("a line is missing", drop_line, "G0001: has "),
    ("a recording", soften, "G0001: its provenance has sha256"),
]


def first_word(root):
    return (root / TEXT).read_text(encoding="utf-8").splitlines()[0].split("\t")[-1].split()[0]


@pytest.mark.parametrize(("change", "message"), [pytest.param(*one[1:], id=one[0]) for one in OTHER_CORPORA])
def test_data_made_from_another_corpus(source, origin, tmp_path, change, message):
    """The data set is consistent, because it was built, but not from this corpus."""
    other = shutil.copytree(source, tmp_path / "other")
    change(other)
    build_duplex(other, tmp_path / "data", corpus.settings())
    assert verify(tmp_path / "data").problems == []
    found = verify(tmp_path / "data", origin=origin).problems
    assert any(one.startswith(f"{SESSION} {message}") for one in found), found


PROVENANCE = [
    ("channels", 2),
    ("transcript", "other.txt"),
    ("audio", "other.wav"),
    ("sha256", "0" * 64),
    ("non_finite_samples", 3),
]


@pytest.mark.parametrize(("field", "value"), PROVENANCE)
def test_provenance_that_the_audio_does_not_show(data, origin, field, value):
    change_track(lambda record: record["provenance"].update({field: value}))(data)
    rewrite_report(data)
    assert verify(data).problems == [], "the data set alone does not show it"
    found = verify(data, origin=origin).problems
    assert any(one.startswith(f"{SESSION} G0001: its provenance has {field} ") for one in found), found


def test_names_sessions_of_one_side_only(data, origin):
    fewer = {name: session for name, session in origin.items() if name == SESSION}
    assert f"{OTHER_SESSION} is not in the corpus" in verify(data, origin=fewer).problems
    more = verify(data, origin={**origin, "A0010": origin[SESSION]})
    assert more.problems == []
    assert line(more).look
    assert "1 more not built" in line(more).found


def test_export_is_compared_too(data, origin, tmp_path):
    for kind in ("parquet", "webdataset"):
        export(data, tmp_path / kind, kind, shard_bytes=10**9)
        assert verify(tmp_path / kind, origin=origin).problems == []


def test_retimed_copies_have_the_recordings_of_their_source(source, origin, tmp_path):
    settings = corpus.settings()
    settings = settings.model_copy(update={"augment": settings.augment.model_copy(update={"copies": 1})})
    build_duplex(source, tmp_path / "data", settings)
    assert (tmp_path / "data" / "storage" / f"{SESSION}+1.arrow").exists()
    assert verify(tmp_path / "data", origin=origin).problems == []


class TestRecordingsAtHand:
    """The build remembers where the recordings are, outside of the tables."""

    @pytest.fixture
    def built(self, source, intact, tmp_path):
        """Return a data set whose corpus may be changed."""
        mine = shutil.copytree(source, tmp_path / "corpus")
        build_duplex(mine, tmp_path / "data", corpus.settings())
        return mine, tmp_path / "data"

    def test_all_are_compared(self, built):
        found = verify(built[1])
        assert found.problems == []
        assert line(found).found.startswith("4 of 4 recordings at hand, as recorded (SHA-256)")

    def test_none_in_a_copy(self, data):
        assert line(verify(data)).found.startswith("none of 4 recordings at hand")

    def test_finds_another_sha256(self, built):
        change_track(lambda record: record["provenance"].update(sha256="0" * 64))(built[1])
        rewrite_report(built[1])
        (problem,) = verify(built[1]).problems
        assert problem.startswith(f"{SESSION} G0001: its recording ")
        assert "SHA-256" in problem

    def test_recording_that_was_changed_or_removed_breaks_nothing(self, built):
        soften(built[0])
        next((built[0] / "WAV").glob(f"{SESSION}_G0002.*")).unlink()
        found = verify(built[1])
        assert found.problems == []
        assert line(found).look
        assert line(found).found.startswith("3 of 4 recordings at hand, 1 changed since the build")


class TestCommand:
    def test_compares_and_names_the_place(self, data, source):
        and_provenance(change_audio(halve, BOTH))(data)
        rewrite_report(data)
        assert CliRunner().invoke(app, ["verify", str(data)]).exit_code == 0
        result = CliRunner().invoke(app, ["verify", str(data), "--source", str(source), "--json"])
        assert result.exit_code == 5
        assert any("is not its recording" in one for one in json.loads(result.stdout)["problems"])

    def test_options_of_the_corpus_need_it(self, data):
        result = CliRunner().invoke(app, ["verify", str(data), "--format", "kaldi"])
        assert result.exit_code == 2

    def test_source_that_is_no_corpus(self, data, tmp_path):
        assert CliRunner().invoke(app, ["verify", str(data), "--source", str(tmp_path / "none")]).exit_code == 5

    def test_json_document_is_stable(self, data):
        document = json.loads(CliRunner().invoke(app, ["verify", str(data), "--json", "--quiet"]).stdout)
        assert list(document) == ["schema", "data", "holds", "problems", "findings", "checks", "report"]
        assert {frozenset(check) for check in document["checks"]} == {frozenset({"name", "found", "holds", "look"})}

    @pytest.mark.parametrize(
        ("name", "message"), [("none", "does not exist"), ("file", "is a file"), ("empty", "is not a duplex data set")]
    )
    def test_path_that_is_no_data_set(self, tmp_path, name, message):
        (tmp_path / "file").write_text("x")
        (tmp_path / "empty").mkdir()
        result = CliRunner().invoke(app, ["verify", str(tmp_path / name)])
        assert result.exit_code == 5
        assert message in result.output
