"""G.711 compared with libsndfile, and the error bounds of the quantiser, on every int16 sample."""

import io

import numpy as np
import pytest
import soundfile

from sca.audio.g711 import decode_g711, encode_g711

EVERY_BYTE = bytes(range(256))
EVERY_SAMPLE = np.arange(-32768, 32768).astype(np.int16)
LAWS = ["ulaw", "alaw"]


@pytest.mark.parametrize("law", LAWS)
def test_decodes_every_byte_like_libsndfile(law):
    raw = {"samplerate": 8000, "channels": 1, "format": "RAW", "subtype": law.upper()}
    theirs, _ = soundfile.read(io.BytesIO(EVERY_BYTE), dtype="int16", **raw)
    np.testing.assert_array_equal(decode_g711(EVERY_BYTE, law), theirs)


@pytest.mark.parametrize(("law", "known"), [
    ("ulaw", {0: 0xFF, -1: 0x7F, 32767: 0x80, -32768: 0x00, 1000: 0xCE}),
    ("alaw", {0: 0xD5, -1: 0x55, 32767: 0xAA, -32768: 0x2A, 1000: 0xFA}),
])  # fmt: skip
def test_known_samples(law, known):
    assert list(encode_g711(np.array(list(known), np.int16), law)) == list(known.values())


@pytest.mark.parametrize("law", LAWS)
def test_decoded_byte_encodes_to_the_same_sample(law):
    samples = decode_g711(EVERY_BYTE, law)
    np.testing.assert_array_equal(decode_g711(encode_g711(samples, law), law), samples)


@pytest.mark.parametrize("law", LAWS)
def test_encodes_like_libsndfile_with_mirrored_negatives(law):
    positive = EVERY_SAMPLE[EVERY_SAMPLE >= 0]
    theirs = io.BytesIO()
    soundfile.write(theirs, positive, 8000, format="RAW", subtype=law.upper())
    ours = encode_g711(positive, law)
    assert ours == theirs.getvalue()
    # libsndfile mirrors at 0 and G.191 between -1 and 0, so the negative half is compared by G.191's own rule.
    assert encode_g711(~positive, law) == bytes(byte ^ 0x80 for byte in ours)


@pytest.mark.parametrize("law", LAWS)
def test_error_is_at_most_half_a_step(law):
    coded = decode_g711(encode_g711(EVERY_SAMPLE, law), law).astype(np.int64)
    wide = EVERY_SAMPLE.astype(np.int64)
    size = np.where(wide < 0, ~wide, wide)
    size = (
        size + 132 if law == "ulaw" else np.maximum(size, 256)
    )  # µ-law's bias; A-law's first two segments have equal steps
    step = 2.0 ** (np.floor(np.log2(size)) - 4)
    loud = (law == "ulaw") & (size >= 32768)  # beyond µ-law's largest decision value
    assert (abs(coded - wide) <= step / 2)[~loud].all()
    assert (np.diff(coded) >= 0).all()


@pytest.mark.parametrize("samples", [np.zeros(3, np.float32), np.zeros((2, 2), np.int16)])
def test_rejects_other_dtypes_and_shapes(samples):
    with pytest.raises(ValueError, match="int16"):
        encode_g711(samples, "ulaw")
