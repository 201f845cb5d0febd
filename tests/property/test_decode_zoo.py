"""Any file of the zoo is read as FFmpeg decodes its parts: length, pitch and level."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.decode_zoo import check, random_case


@settings(max_examples=60)
@given(st.randoms(use_true_random=False))
def test_files_of_all_formats_are_read_whole(rng):
    with tempfile.TemporaryDirectory() as folder:
        assert check(random_case(rng), Path(folder)) > 0
