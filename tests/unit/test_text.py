"""Transcript text: remove tags, find words, join units."""

import pytest

from sca.data.corpora.base import TimedWord
from sca.data.corpora.text.scripts import join_words
from sca.data.duplex.align.match import GivenTimes, interpolate
from sca.data.duplex.rows.text import Tag, clean, make_units, split_words


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("so [SONANT] tell me", "so tell me"),
        ("[ENS]", ""),
        ("[*] yes [NPS]", "yes"),
        ("word[MUSIC]word", "word word"),
        ("[LAUGH/] ha", "ha"),
        ("keep [this] please", "keep [this] please"),
        ("so I [+] took the <noise> night bus [++]", "so I took the night bus"),
        ("[laughter] yes (coughs) and it stopped 【笑声】", "yes and it stopped"),
        ("{breath} well (clears throat) I <unk> [UNK] [unk] did", "well I did"),
        ("♪ la la ♪ 😀 good 👍🏽 👩\u200d💻", "la la good"),
        ("it was [laughter-really] ((maybe)) late (( ))", "it was really maybe late"),
        ("[background noise] [Laughter] 好的[笑声]（咳嗽）", "好的"),
        (
            "(I think) {1, 2} 3 < 4 <|im_end|> (see music theory now)",
            "(I think) {1, 2} 3 < 4 <|im_end|> (see music theory now)",
        ),
        ("21 °C, №5 ™", "21 °C, №5 ™"),
        ("  two\t\tspaces\u00a0here ", "two spaces here"),
        ("zero\u200bwidth", "zerowidth"),
        ("bom\ufeff", "bom"),
        ("cafe\u0301", "café"),
        ("نمی\u200cخواهم", "نمی\u200cخواهم"),
        ("bell\x07", "bell"),
    ],
)
def test_clean(raw, text):
    assert clean(raw).text == text


def test_clean_returns_tags_with_their_offsets():
    cleaned = clean("[SONANT] so [ENS] tell me [*]")
    assert cleaned.text == "so tell me"
    assert cleaned.tags == (Tag("[SONANT]", 0), Tag("[ENS]", 2), Tag("[*]", 10))


def test_clean_can_keep_tags():
    cleaned = clean("so [+] took<noise> it", keep_tags=True)
    assert cleaned.text == "so [+] took <noise> it"
    assert cleaned.tags == (Tag("[+]", 2), Tag("<noise>", 11))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Hello, world!", ["Hello,", "world!"]),
        ("今天天气好。", ["今", "天", "天", "气", "好。"]),
        ("用 Python 写代码", ["用", "Python", "写", "代", "码"]),
        ("「はい」", ["「は", "い」"]),
        ("안녕 하세요", ["안녕", "하세요"]),
        ("", []),
    ],
)
def test_split_words(text, words):
    assert [text[a:b] for a, b in split_words(text)] == words


def test_interpolation_is_proportional_to_letters():
    words = interpolate("a bbb, cc", 1000, 7000)
    assert [(w.text, w.start, w.end) for w in words] == [("a", 1000, 2000), ("bbb,", 2000, 5000), ("cc", 5000, 7000)]
    assert {w.source for w in words} == {"interpolated"}


def test_units_join_across_short_gaps_only():
    one, two, three = (
        ("so I", interpolate("so I", 0, 8000)),
        ("said no", interpolate("said no", 12000, 20000)),
        ("what", interpolate("what", 28000, 30000)),
    )
    units = make_units([one, two, three], 8000)
    assert [u.text for u in units] == ["so I said no", "what"]
    assert [u.text[w.char_start : w.char_end] for u in units for w in u.words] == ["so", "I", "said", "no", "what"]
    assert (units[0].start, units[0].end) == (0, 20000)


def given(*words):
    return GivenTimes([TimedWord(*w) for w in words])


def test_given_words_match_without_case_and_punctuation():
    words = given(("hello", 100, 200), ("world", 300, 400)).take("Hello, WORLD!", 0, 500)
    assert [(w.text, w.start, w.source) for w in words] == [("Hello,", 100, "given"), ("WORLD!", 300, "given")]


def test_given_words_match_after_a_mismatched_utterance():
    source = given(("one", 0, 10), ("tvo", 20, 30), ("three", 50_000, 50_010))
    assert source.take("one two", 0, 100) is None
    assert source.take("three", 49_000, 52_000) is not None


def test_rejects_given_words_outside_the_utterance():
    assert given(("yes", 90_000, 91_000)).take("yes", 0, 16_000) is None


def test_rejects_given_words_that_run_backwards():
    assert given(("a", 500, 600), ("b", 100, 200)).take("a b", 0, 1000) is None


def test_repeated_word_gets_the_times_of_its_utterance():
    source = given(("yeah", 1000, 2000), ("yeah", 100_000, 101_000))
    assert source.take("yeah", 99_000, 102_000)[0].start == 100_000


def times(words):
    return [(word.text, word.start, word.end, word.source) for word in words]


def test_words_that_are_divided_differently_keep_their_times():
    source = given(("so", 0, 10), ("night", 20, 30), ("bus", 40, 50), ("yes", 90_000, 90_010))
    assert times(source.take("so night-bus yes", 0, 90_010)) == [
        ("so", 0, 10, "given"),
        ("night-bus", 20, 50, "given"),
        ("yes", 90_000, 90_010, "given"),
    ]
    chinese = given(("今天", 1000, 1200), ("天气", 1300, 1500), ("很好", 1500, 1900))
    assert [word[1:] for word in times(chinese.take("今天天气很好", 900, 2000))] == [
        (1000, 1100, "given"),
        (1100, 1200, "given"),
        (1300, 1400, "given"),
        (1400, 1500, "given"),
        (1500, 1700, "given"),
        (1700, 1900, "given"),
    ]
    thai = given(("ผม", 100, 300), ("นั่ง", 400, 600))
    assert [word[:3] for word in times(thai.take("ผมนั่ง", 0, 700))] == [
        ("ผ", 100, 200),
        ("ม", 200, 300),
        ("นั่", 400, 550),
        ("ง", 550, 600),
    ]


def test_words_without_given_times_are_interpolated():
    source = given(("one", 0, 10), ("tvo", 20, 30), ("three", 40, 50), ("four", 60, 70))
    assert times(source.take("one two three", 0, 50)) == [
        ("one", 0, 10, "given"),
        ("two", 10, 40, "interpolated"),
        ("three", 40, 50, "given"),
    ]
    assert times(source.take("four", 60, 70)) == [("four", 60, 70, "given")]


def test_words_join_without_spaces_in_scripts_that_have_none():
    assert join_words(["今天", "天气", "很好，", "谢谢"]) == "今天天气很好，谢谢"
    assert join_words(["ผม", "นั่ง"]) == "ผมนั่ง"
    assert join_words(["用", "Python", "写", "代码"]) == "用 Python 写代码"
    assert join_words(["안녕", "하세요"]) == "안녕 하세요"
    assert join_words([]) == ""
