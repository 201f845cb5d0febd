"""Words, weights and spaces of writing systems."""

import pytest

from sca.data.corpora.base import TimedWord
from sca.data.corpora.text.scripts import joint, starts_with_space, weight
from sca.data.duplex.align.match import GivenTimes, interpolate
from sca.data.duplex.align.plausibility import implausibility
from sca.data.duplex.rows.assemble import tokenize_units
from sca.data.duplex.rows.text import make_units, split_words
from sca.data.duplex.rows.turn_labels import label
from sca.tokenizer import load_tokenizer


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("รู้ไหม ครับ", ["รู้", "ไห", "ม", "ค", "รั", "บ"]),
        ("จันทร์", ["จั", "น", "ทร์"]),
        ("ສະບາຍດີ", ["ສະ", "ບາ", "ຍ", "ດີ"]),
        ("မန္တလေးမြို့", ["မန္တ", "လေး", "မြို့"]),
        ("အင်္ဂလိပ်", ["အင်္ဂ", "လိပ်"]),
        ("ខ្ញុំទៅសាលា", ["ខ្ញុំ", "ទៅ", "សា", "លា"]),
        ("我用Python写，", ["我", "用", "Python", "写，"]),
        ("मैं हिन्दी don't", ["मैं", "हिन्दी", "don't"]),
    ],
)
def test_split_words_of_scripts(text, words):
    assert [text[a:b] for a, b in split_words(text)] == words


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("don't", 4),
        ("écoute", 6),
        ("пошёл", 5),
        ("한국어", 9),
        ("你", 3),
        ("か", 2),
        ("हिन्दी", 6),
        ("นา", 3),
        ("น", 1),
        ("…", 1),
    ],
)
def test_weight_counts_letters_and_syllables(word, expected):
    assert weight(word) == expected


def test_small_kana_is_part_of_the_mora_before_it():
    assert weight("きょ") == weight("き")


@pytest.mark.parametrize(
    ("before", "after", "between"),
    [
        ("你好。", "我", ""),
        ("昨日", "は", ""),
        ("你好", "OK", " "),
        ("ok", "你好", " "),
        ("นะ", "ค่ะ", " "),
        ("a", "b", " "),
    ],
)
def test_joint_between_utterances(before, after, between):
    assert joint(before, after) == between


@pytest.mark.parametrize(
    ("text", "space"), [("对", False), ("（对）", False), ("ใช่", False), ("네", True), ("ok 对", True), ("...", True)]
)
def test_leading_space_depends_on_the_script(text, space):
    assert starts_with_space(text) is space


def test_short_chinese_answers_cost_no_tokens_for_spaces():
    tokenizer = load_tokenizer("builtin:qwen")
    utterances = [
        (text, interpolate(text, n * 32_000, n * 32_000 + 8_000)) for n, text in enumerate(["对", "好的"] * 5)
    ]
    units = make_units(utterances, 8_000)
    found = tokenize_units(units, [label(unit.span, 1, []) for unit in units], tokenizer)
    assert [tokenizer.decode(unit.ids) for unit in found] == ["对", "好的"] * 5
    assert sum(len(unit.ids) for unit in found) == sum(len(tokenizer.encode(unit.text)) for unit in units)


def test_chinese_utterances_join_without_a_space():
    utterances = [("你好", interpolate("你好", 0, 8_000)), ("再见", interpolate("再见", 9_000, 16_000))]
    (unit,) = make_units(utterances, 8_000)
    assert unit.text == "你好再见"
    assert [unit.text[word.char_start : word.char_end] for word in unit.words] == list("你好再见")


def test_given_words_are_split_like_the_text():
    given = GivenTimes([TimedWord("你好", 0, 8_000), TimedWord("世界", 8_000, 12_000)])
    words = given.take("你好世界", 0, 12_000)
    assert words is not None
    assert [(word.text, word.start, word.end, word.source) for word in words] == [
        ("你", 0, 4_000, "given"),
        ("好", 4_000, 8_000, "given"),
        ("世", 8_000, 10_000, "given"),
        ("界", 10_000, 12_000, "given"),
    ]


@pytest.mark.parametrize(
    ("text", "seconds", "problem"),
    [
        ("昨日バスを待っていたんですけど", 1.5, None),  # 10 a second
        ("昨日バスを待っていたんですけど", 0.8, "too_fast"),
        ("one two three four five six seven eight", 0.9, "too_fast"),
        ("one two three four five six seven eight", 1.1, None),
    ],
)
def test_plausible_rate_depends_on_the_script(text, seconds, problem):
    words = interpolate(text, 0, int(seconds * 16_000))
    assert implausibility(words, [(0, 32_000)]) == problem
