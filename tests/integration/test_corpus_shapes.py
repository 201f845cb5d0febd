"""45 shapes in which one conversation reaches `sca build-duplex`, and what it does with each.

A shape is read right, is read with a note, or ends in an error that says what to do. None is read wrong without a word.
"""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soundfile as sf
from typer.testing import CliRunner

from sca.cli.main import app
from sca.data.corpora.base import Conversation, Issue
from sca.data.corpora.registry import open_corpus
from sca.errors import InputError
from tests.helpers import corpus, packed_shapes
from tests.helpers import transcript_shapes as shapes

# lhotse leaves the archives that it reads to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


class Shape(NamedTuple):
    """A folder, and what becomes of it: the notes about it, or its error; without both it is read right silently."""

    write: Callable[[Path], None]
    notes: tuple[str, ...] = ()
    error: str = ""


def table() -> str:
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(["turn_id", "speaker", "start", "stop", "utterance"])
    rows.writerows([n, shapes.NAMES[s], a, b, t] for n, (a, b, t, s) in enumerate(shapes.TURNS))
    return text.getvalue()


MAIN = [word for word in shapes.alignments() if word[2] == "SPEAKER_MAIN"]
LATIN = shapes.per_channel(
    ".srt", lambda side: shapes.srt(side).replace("No", "Nó").replace("\n", "\r\n").encode("latin-1")
)
SILENT = tuple(f"has no words; a.{side} is silent throughout" for side in ("left", "right"))
READ = shapes.SHAPES | shapes.LISTS | packed_shapes.TABLES | packed_shapes.SHARS

SHAPES: dict[str, Shape] = {
    "01 moshi, both speakers": Shape(shapes.moshi(shapes.alignments())),
    "02 moshi, main speaker only": Shape(shapes.moshi(MAIN)),
    "03 moshi, mono": Shape(
        shapes.moshi(MAIN, shapes.channels().mean(1)), error="record each on a channel, or give each a recording"
    ),
    "04 moshi, channels swapped": Shape(shapes.moshi(shapes.alignments(), shapes.channels()[:, ::-1])),
    "05 moshi, SPEAKER_00 and SPEAKER_01": Shape(READ["moshi-finetune, speakers without SPEAKER_MAIN"]),
    "06 moshi, words without times": Shape(
        shapes.moshi([[w, [None, None] if n == 1 else t, s] for n, (w, t, s) in enumerate(shapes.alignments())])
    ),
    "07 moshi, spaces before words": Shape(shapes.moshi([[f" {w}", t, s] for w, t, s in shapes.alignments()])),
    "08 moshi, unsorted": Shape(shapes.moshi(shapes.alignments()[::-1])),
    "09 moshi, wrong duration": Shape(shapes.moshi(shapes.alignments(), duration=99.0)),
    "10 moshi, more keys": Shape(shapes.moshi(shapes.alignments(), text_conditions={"x": "y"})),
    "11 moshi, JSON missing": Shape(
        shapes.moshi(None), error="a.json.err shows that annotate.py failed; transcribe the recording"
    ),
    "12 moshi, a word during another": Shape(shapes.moshi(shapes.alignments())),
    "13 moshi, milliseconds": Shape(
        shapes.moshi_milliseconds, ("its times are milliseconds: as seconds, they would end at 5000 s",)
    ),
    "20 whisperX, speakers": Shape(READ["whisperX"]),
    "21 whisper, per channel": Shape(READ["whisper, per channel"]),
    "22 TextGrid": Shape(READ["TextGrid"]),
    "23 TextGrid, UTF-16": Shape(READ["TextGrid, UTF-16"]),
    "24 ELAN, empty": Shape(
        shapes.with_stereo("a.eaf", "<ANNOTATION_DOCUMENT><TIME_ORDER/></ANNOTATION_DOCUMENT>"), SILENT
    ),
    "25 CTM": Shape(READ["CTM"]),
    "26 CTM, channels from 0": Shape(shapes.with_stereo("a.ctm", shapes.ctm(int))),
    "27 CTM of the mix, RTTM": Shape(READ["CTM of the mix, RTTM"]),
    "28 STM": Shape(READ["STM"]),
    "29 STM, all on channel 1": Shape(READ["STM of the mix"]),
    "30 SRT, left and right": Shape(READ["SRT, per channel"]),
    "31 SRT, CRLF, Latin-1": Shape(LATIN, ("read as Latin-1, because it is not UTF-8",)),
    "32 WebVTT, voices": Shape(READ["VTT with voices"]),
    "33 SRT, per speaker": Shape(READ["SRT, per speaker"]),
    "34 CSV of turns": Shape(shapes.with_stereo("a.csv", table())),
    "35 Audacity labels": Shape(READ["Audacity labels"]),
    "36 Fisher": Shape(READ["Fisher"]),
    "37 Switchboard MS98": Shape(READ["Switchboard MS98"]),
    "38 SpokenWOZ": Shape(READ["SpokenWOZ"]),
    "39 Kaldi": Shape(READ["Kaldi"]),
    "40 CHAT": Shape(READ["CHAT"]),
    "41 Deepgram": Shape(READ["Deepgram, multichannel"]),
    "42 NeMo manifest": Shape(READ["NeMo manifest"]),
    "43 Hugging Face, Parquet": Shape(READ["speaker1 and speaker2, JSON"]),
    "50 lhotse, MultiCut": Shape(shapes.lhotse_cuts()),
    "51 lhotse, manifests without cuts": Shape(READ["lhotse manifests without cuts"]),
    "52 lhotse, padded cut": Shape(READ["lhotse, padded cut"]),
    "53 lhotse, both channels": Shape(READ["lhotse, supervisions on both channels"]),
    "54 lhotse, overlap of one speaker": Shape(
        shapes.lhotse_cuts((0.6, 1.8, "no wait", 0)), ("supervision s4: overlaps supervision s0 by 1.100 s",)
    ),
    "55 lhotse, symbols of an aligner": Shape(shapes.lhotse_cuts(symbols=True)),
    "56 NeMo duplex, Shar": Shape(READ["NeMo duplex, Shar"]),
    "57 NeMo duplex, cuts": Shape(READ["NeMo duplex cuts"]),
}


def test_table_has_all_shapes():
    assert len(SHAPES) == 45
    assert sum(bool(shape.error) for shape in SHAPES.values()) == 2


@pytest.mark.parametrize("name", SHAPES)
def test_shape_is_read_or_refused_with_what_to_do(name, tmp_path):
    shape = SHAPES[name]
    shape.write(tmp_path / "corpus")
    if shape.error:
        with pytest.raises(InputError) as raised:
            open_corpus(tmp_path / "corpus")
        assert shape.error in raised.value.message
        return
    found = list(open_corpus(tmp_path / "corpus", cache_dir=tmp_path / "cache").conversations())
    (conversation,) = [entry for entry in found if isinstance(entry, Conversation)]
    notes = [*(entry for entry in found if isinstance(entry, Issue)), *conversation.issues]
    assert len(notes) == len(shape.notes)
    assert all(part in note.reason for part, note in zip(shape.notes, notes, strict=True))
    for side, track in enumerate(shapes.by_side(conversation)):
        if shape.notes == SILENT:
            assert (track.utterances, track.transcript is not None) == ((), True)
        elif name.startswith("02") and side == 1:
            assert track.transcript is None
        else:
            accents = {"No": "Nó"} if name.startswith("31") else {}
            # Of the 45, this one is at odds with its format; the build notices it, see below.
            shapes.assert_says(track, 1 - side if name.startswith("04") else side, accents)


def test_build_notices_swapped_channels(tmp_path):
    demo = corpus.demo(tmp_path / "demo")
    names = ("D0001_S0001_0_G0001", "D0001_S0001_0_G0002")
    tracks = [sf.read(demo / "WAV" / f"{name}.flac")[0] for name in names]
    rate = sf.info(demo / "WAV" / f"{names[0]}.flac").samplerate
    words = [json.loads((demo / "WORDS" / f"{name}.json").read_text()) for name in names]
    speakers = ("SPEAKER_MAIN", "SPEAKER_OTHER")
    listed = [[text, [start, end], speakers[side]] for side in (0, 1) for text, start, end in words[side]]
    shapes.moshi(listed, np.stack(tracks[::-1], 1), rate=rate)(tmp_path / "corpus")
    outcome = CliRunner().invoke(app, ["build-duplex", str(tmp_path / "corpus"), "-o", str(tmp_path / "data")])
    assert outcome.exit_code == 0
    assert "look here: stereo-a at 0.00 s: the recordings look swapped" in outcome.stdout
