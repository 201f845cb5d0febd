"""Encodings of transcripts are detected from their bytes."""

import pytest

from sca.data.corpora.text.encoding import decode_text, read_text

CHINESE = "[1,2]\tG1\t女,普通话\t我坐了夜班车\n[3,4]\tG1\t女,普通话\t真的吗\n"
KOREAN = "[1,2]\tG1\t여,표준어\t안녕하세요 오늘 날씨가 참 좋네요\n"
FRENCH = "1\n00:00:01,000 --> 00:00:02,000\nça va, Zoé ? « très bien » déjà\n"
GERMAN = "a 1 0.50 0.30 schön\na 1 0.90 0.30 groß\n"
RUSSIAN = "a 1 0.50 0.30 привет\na 1 0.90 0.30 как\na 1 1.30 0.30 дела\n"


@pytest.mark.parametrize("text", [CHINESE, KOREAN, FRENCH, GERMAN, RUSSIAN, "plain\n", ""])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_utf8_is_read_as_it_is(text, encoding):
    assert decode_text(text.encode(encoding)) == (text, None)


@pytest.mark.parametrize(
    ("text", "encoding", "name"),
    [
        (CHINESE, "gbk", "GBK"),
        (KOREAN, "euc_kr", "EUC-KR"),
        (FRENCH, "latin-1", "Latin-1"),
        (GERMAN, "latin-1", "Latin-1"),
        (CHINESE, "utf-16", "UTF-16"),
        (FRENCH, "utf-16-le", "UTF-16"),
        (FRENCH, "utf-16-be", "UTF-16"),
    ],
)
def test_detects_the_encoding(text, encoding, name):
    assert decode_text(text.encode(encoding)) == (text, name)


def test_one_invalid_byte_does_not_change_the_encoding():
    raw = "café\nnaïve\n".encode() + b"caf\xe9\n"
    assert decode_text(raw) == ("café\nnaïve\ncaf\udce9\n", None)


@pytest.mark.parametrize("raw", [bytes(100), b"RIFF" + bytes(range(256)) * 4 + bytes(40)])
def test_binary_files_are_not_text(tmp_path, raw):
    assert decode_text(raw) is None
    (tmp_path / "a.txt").write_bytes(raw)
    with pytest.raises(ValueError, match=r"a\.txt is not text"):
        read_text(tmp_path / "a.txt")


@pytest.mark.parametrize("encoding", ["cp1251", "koi8-r", "shift_jis"])
def test_other_encodings_are_refused(tmp_path, encoding):
    text = "ありがとうございます 今日は\n" if encoding == "shift_jis" else RUSSIAN
    (tmp_path / "a.txt").write_bytes(text.encode(encoding))
    with pytest.raises(ValueError, match=r"a\.txt is not UTF-8, UTF-16, GBK or Latin-1"):
        read_text(tmp_path / "a.txt")
