"""The synthetic replacement of the recordings: the same files, reproducible, and recognised as speech."""

from itertools import pairwise

import numpy as np
import pytest

from sca.audio.decode import read_audio
from sca.audio.vad import SileroVad, speech_segments
from sca.data.corpora import magichub
from sca.units import HEARD_HZ
from scripts.make_trial_data import SPEECH, make


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make(tmp_path_factory.mktemp("stand-in"))


def files(root):
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_has_the_files_of_the_recordings(made, trial_data):
    recorded = {name for name in files(trial_data) if not name.startswith("cases/")}
    assert set(files(made)) == recorded - {"README.md"}


def test_is_reproducible(made, tmp_path):
    assert files(make(tmp_path)) == files(made)


def test_conversations_are_readable_and_lines_audible(made):
    scan = magichub.scan(made / "conversation")
    assert len(scan.sessions) == 2
    assert not scan.issues
    for session in scan.sessions:
        conversation = magichub.read(session)
        assert not conversation.issues
        for track, recording in zip(conversation.tracks, session.tracks, strict=True):
            x = read_audio(recording.audio, HEARD_HZ)
            spoken = np.zeros(len(x), bool)
            for line in track.utterances:
                assert np.abs(x[line.start : line.end]).max() > 0.03, line  # a breath is soft
                spoken[line.start : line.end] = True
            assert np.abs(x[~spoken]).max() < 0.02, "there is no sound outside the lines"


def test_the_vad_finds_both_pauses(made):
    x = read_audio(made / "clips" / "jfk.flac", HEARD_HZ)
    segments = speech_segments(SileroVad().probabilities(x), total_samples=len(x))
    long = [(end, start) for (_, end), (start, _) in pairwise(segments) if start - end > 0.6 * HEARD_HZ]
    ends = [at + until - since for since, until, at in SPEECH]
    assert len(long) == 2
    for (end, start), said, (_, _, begins) in zip(long, ends, SPEECH[1:], strict=False):
        assert end / HEARD_HZ == pytest.approx(said, abs=0.2)
        assert start / HEARD_HZ == pytest.approx(begins, abs=0.2)
