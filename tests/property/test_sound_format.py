"""Wire audio codecs: the result does not depend on how the bytes are cut."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sca.infer.server.ws.audio_codec import WIRE_HZ, WireDecoder, WireEncoder
from sca.units import HEARD_HZ, SPOKEN_HZ

FORMATS = sorted(WIRE_HZ)
CUTS = st.lists(st.integers(1, 1500), min_size=1, max_size=20)


def tone(rate_hz, seconds=0.5, hz=440):
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(int(rate_hz * seconds)) / rate_hz)).astype(np.float32)


def pieces(data, cuts, unit=1):
    at = 0
    for cut in cuts:
        yield data[at : at + cut * unit]
        at += cut * unit
    yield data[at:]


def spoken(sound):
    return (sound * 32767).astype("<i2").tobytes()


@pytest.mark.parametrize("kind", FORMATS)
@given(cuts=CUTS)
def test_decoder_result_does_not_depend_on_cuts(kind, cuts):
    data = np.random.default_rng(0).integers(0, 256, 12_000, np.uint8).tobytes()
    whole, cut = WireDecoder(kind), WireDecoder(kind)
    expected = np.concatenate([whole.push(data), whole.flush()])
    got = np.concatenate([*(cut.push(piece) for piece in pieces(data, cuts)), cut.flush()])
    np.testing.assert_array_equal(got, expected)
    assert got.dtype == np.float32
    assert abs(got).max() <= 1


@pytest.mark.parametrize("kind", FORMATS)
@given(cuts=CUTS)
def test_encoder_result_does_not_depend_on_cuts(kind, cuts):
    data = spoken(tone(SPOKEN_HZ))
    whole, cut = WireEncoder(kind), WireEncoder(kind)
    expected = whole.push(data) + whole.flush()
    assert b"".join(cut.push(piece) for piece in pieces(data, cuts, unit=2)) + cut.flush() == expected


@pytest.mark.parametrize("kind", FORMATS)
def test_tone_survives_encoding_and_decoding(kind):
    out, back = WireEncoder(kind), WireDecoder(kind)
    wire = out.push(spoken(tone(SPOKEN_HZ))) + out.flush()
    assert len(wire) == WIRE_HZ[kind] // 2 * (2 if kind == "pcm" else 1)
    heard = np.concatenate([back.push(wire), back.flush()])
    assert np.corrcoef(heard, tone(HEARD_HZ))[0, 1] > 0.999


def test_half_samples():
    with pytest.raises(ValueError, match="3 bytes"):
        WireEncoder("pcmu").push(b"abc")
    wire = WireDecoder("pcm")
    wire.push(b"\x01")
    assert len(wire.flush()) == 0
