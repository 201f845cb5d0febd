"""A duplex data set of several sessions and splits, its exports, and the comparison of rows."""

from pathlib import Path

import numpy as np

from sca.data.duplex.build.dataset import build_duplex
from sca.data.export.run import export
from tests.helpers import corpus

FORMATS = ("arrow", "parquet", "webdataset")


def build_sources(folder: Path) -> Path:
    """Make the data set and its exports in several shards, all in one folder."""
    source = corpus.demo(folder / "corpus")
    for number in (7, 8):
        lines = {f"G00{number}1": [(1.0, 3.0, "hello there my friend"), (8.0, 10.5, "no, not at all")]}
        lines |= {f"G00{number}2": [(4.0, 7.0, "are you in a hurry today")]}
        for speaker, utterances in lines.items():
            corpus.write_track(source, f"A000{number}_S000{number}_0_{speaker}", utterances, 30.0)
    build_duplex(source, folder / "arrow", corpus.settings(validation=0.3, window="5-10"))
    for kind in ("parquet", "webdataset"):
        export(folder / "arrow", folder / kind, kind, shard_bytes=1_000_000)
    return folder


def assert_equal(found, expected):
    assert found.row_id == expected.row_id
    assert found.segments == expected.segments
    assert found.controls == expected.controls
    assert found.placeholder == expected.placeholder
    for name in ("input_ids", "heard", "spoken", "codes", "speaker_embedding"):
        a, b = getattr(found, name), getattr(expected, name)
        assert (a is None) == (b is None), name
        if a is not None:
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)
