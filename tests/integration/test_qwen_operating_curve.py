"""The items of the operating curve of the tiny Qwen3-Omni, and the voice in place of its talker."""

import json
from types import SimpleNamespace

import numpy as np
import soundfile

from sca.infer.eval.full_duplex_bench import find_items, task_of
from scripts.bench.qwen_operating_curve import RecordedVoice, write_items


def test_items_are_cut_at_the_times_of_the_script(tmp_path):
    talk = {
        "session": "S1-talk",
        "turns": [
            {"speaker": 0, "start": 0.5, "end": 1.5},
            {"speaker": 0, "start": 2.0, "end": 3.0},
            {"speaker": 1, "start": 3.2, "end": 4.0},
        ],
    }
    sound = np.linspace(-1, 1, 16 * 5120, dtype=np.float32)
    rows = [SimpleNamespace(row_id="S1-talk:espeak-a>espeak-b:000000", heard=sound.reshape(16, 5120))]
    write_items([talk], rows, tmp_path)
    pause, turn = find_items(tmp_path)
    assert (task_of(pause.task), task_of(turn.task)) == ("pause", "interruption")
    heard, _ = soundfile.read(pause.input, dtype="float32")
    longer, _ = soundfile.read(turn.input, dtype="float32")
    np.testing.assert_allclose(heard, sound[: 3 * 16_000], atol=1 / 32768)
    assert np.array_equal(longer[: 3 * 16_000], heard)
    assert len(longer) == 6 * 16_000
    assert not longer[3 * 16_000 :].any()
    spans = [
        json.loads((one.folder / f"{name}.json").read_text()) for one, name in ((pause, "pause"), (turn, "interrupt"))
    ]
    assert spans == [[{"timestamp": [1.5, 2.0]}], [{"timestamp": [2.0, 3.0]}]]


def test_recorded_speech_is_played_while_there_is_text():
    speech = np.arange(1, 11, dtype=np.float32)
    voice = RecordedVoice(speech, frozenset([7]), samples=4)
    assert not voice.speak([7], None).any()
    assert voice.speak([7, 1], None).tolist() == [1, 2, 3, 4]
    assert not voice.speak([7], None).any()
    assert voice.speak([1], None).tolist() == [5, 6, 7, 8]
