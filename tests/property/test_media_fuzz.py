"""Damaged recordings of all kinds end in sound or in an `InputError`. `scripts/fuzz_media.py` runs longer."""

from collections import Counter
from itertools import count, islice

import pytest

from sca.audio.decode import probe
from sca.errors import InputError
from tests.helpers.media_fuzz import outcomes, write_corpus


def test_damaged_recordings_are_read_or_refused(tmp_path):
    files = write_corpus(tmp_path)
    found = Counter(message == "read" for _, _, message in islice(outcomes(files, tmp_path, count(1)), 150))
    assert min(found[True], found[False]) > 30, "the damage is too weak or too strong to test anything"


def test_a_size_beyond_the_end_of_any_file(tmp_path):
    """Found by seed 3785: a header of Matroska that states 2^50 bytes."""
    path = tmp_path / "a.webm"
    path.write_bytes(b"\x1a\x45\xdf\xa3" + b"\x01\x7f\xff\xff\xff\xff\xff\xf0" + bytes(100))
    with pytest.raises(InputError, match="is not a sound file"):
        probe(path)
