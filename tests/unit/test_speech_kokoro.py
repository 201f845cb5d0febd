"""The runner of Kokoro with a small model of known lengths, and its notation of phonemes."""

from itertools import pairwise

import numpy as np
import pytest

from sca.errors import InputError, UsageError
from sca.infer.speech.espeak_library import load_library
from sca.infer.speech.kokoro import KokoroEngine, _KokoroVoice
from sca.infer.speech.kokoro_model import _IDS, KokoroModel, _sounding, _windows
from sca.infer.speech.kokoro_symbols import notation
from tests.helpers.spoken import whole
from tests.helpers.tiny_kokoro import EDGE, FRAME, write_kokoro, write_voice


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kokoro")
    return KokoroModel(write_kokoro(folder / "model.onnx")).with_voice(write_voice(folder / "tone.bin"))


def written(symbols, language, owners=None):
    found, words = notation(symbols, [0] * len(symbols) if owners is None else owners, language)
    assert len(found) == len(words)
    return "".join(found)


@pytest.mark.parametrize(
    ("language", "symbols", "expected"),
    [
        ("en-us", "tɹˈeɪn", "tɹˈAn"),
        ("en-us", "nˈaɪn", "nˈIn"),
        ("en-us", "bˈɜːd", "bˈɜɹd"),
        ("en-us", "wˈɔːɾɚ", "wˈɔTəɹ"),
        ("en-us", "tʃˈɜːtʃ", "ʧˈɜɹʧ"),
        ("en-us", "dʒˈʌdʒ", "ʤˈʌʤ"),
        ("en-gb", "ɡˈəʊ", "ɡˈQ"),
        ("en-gb", "fˈɑː", "fˈɑː"),
        ("it", "piˈattsa", "piˈatʦa"),
    ],
)
def test_notation(language, symbols, expected):
    assert written(symbols, language) == expected


def test_sounds_of_two_words_do_not_merge():
    symbols, owners = notation("tʃ", [0, 1], "en-us")
    assert (symbols, owners) == (["t", "ʃ"], [0, 1])


def test_notation_keeps_the_words():
    symbols, owners = notation(list("hˈaɪ eɪ"), [0, 0, 0, 0, -1, 1, 1], "en-us")
    assert (symbols, owners) == (list("hˈI A"), [0, 0, 0, -1, 1])


def test_every_written_symbol_has_an_id():
    from sca.infer.speech.kokoro_symbols import _AMERICAN, _BRITISH, _OTHERS

    for table in (_AMERICAN, _BRITISH, _OTHERS):
        assert {symbol for value in table.values() for symbol in value} <= set(_IDS)


def test_starts_are_the_sums_of_the_lengths(model):
    symbols = list("həlˈoʊ!")
    audio, starts = model.synthesise(symbols)
    frames = np.array([4, *(_IDS[symbol] % 3 + 1 for symbol in symbols)])
    assert len(audio) == (frames.sum() + 4) * FRAME  # 4 of the 9 silent frames are left at each end
    assert starts.tolist() == ((np.cumsum(frames) - 2) * FRAME).tolist()


def test_the_level_is_that_of_the_whole(model):
    audio, _ = model.synthesise(["h"])
    whole, kept = 2 * EDGE + _IDS["h"] % 3 + 1, 8 + _IDS["h"] % 3 + 1
    assert np.abs(audio).max() == pytest.approx((whole / kept) ** 0.75, rel=1e-3)


def test_silence_of_any_length_is_not_decoded():
    energy = np.full(40, -9.0, np.float32)
    assert _sounding(energy) == (0, 40)  # nothing is loud: everything is decoded
    energy[20:25] = 3.0
    assert _sounding(energy) == (16, 29)
    energy[[1, 39]] = 0.0
    assert _sounding(energy) == (0, 40)


def test_unknown_symbols_have_no_length(model):
    _, starts = model.synthesise(["h", "世", "i"])
    assert starts[1] == starts[2]
    assert starts[2] < starts[3]
    audio, starts = model.synthesise(["世"])
    assert len(audio) == 0
    assert starts.tolist() == [0, 0]


def test_long_texts_are_divided_at_spaces(model):
    symbols = list("abcd " * 300)
    parts = list(_windows(symbols))
    assert ["".join(part) for part in parts] == ["abcd " * 102, "abcd " * 102, "abcd " * 96]
    audio, starts = model.synthesise(symbols)
    assert len(starts) == len(symbols) + 1
    assert (np.diff(starts) >= 0).all()
    assert starts[-1] <= len(audio)
    assert [len(part) for part in _windows(["a"] * 1200)] == [510, 510, 180]


def test_a_voice_gives_every_word_its_time(model):
    text = "Good morning, Dr. Smith. It is 3.14 today!"
    samples, words = whole(_KokoroVoice(load_library(), "en-us", model), text)
    assert [word.text for word in words] == text.split()
    assert all(word.start_sample < word.end_sample <= len(samples) for word in words)
    assert all(a.end_sample <= b.start_sample for a, b in pairwise(words))


def test_pieces_give_the_same_sound(model):
    text = "Good morning, everyone. This is the news, and it is short."
    voice = _KokoroVoice(load_library(), "en-gb", model)
    samples, words = whole(voice, text)
    again, found = whole(voice, iter([text[:5], text[5:30], text[30:]]))
    np.testing.assert_array_equal(samples, again)
    assert words == found


def test_damaged_files_have_one_clear_line(model, tmp_path):
    broken = tmp_path / "model.onnx"
    broken.write_bytes(b"no model")
    with pytest.raises(InputError, match="is not the Kokoro model"):
        KokoroModel(broken)
    (tmp_path / "voice.bin").write_bytes(bytes(1000))
    with pytest.raises(InputError, match="is not a voice of Kokoro"):
        model.with_voice(tmp_path / "voice.bin")
    with pytest.raises(InputError, match="cannot be read"):
        model.with_voice(tmp_path / "none.bin")


def test_voices_are_listed_without_the_model():
    voices = {info.name: info.language for info in KokoroEngine().voices()}
    assert len(voices) == 54
    assert voices["bf_emma"] == "en-gb"
    assert voices["zm_yunxi"] == "cmn"


def test_unknown_voices_have_a_hint():
    with pytest.raises(UsageError, match="has no voice af_hart") as raised:
        KokoroEngine().open("af_hart")
    assert "af_heart" in raised.value.hint
