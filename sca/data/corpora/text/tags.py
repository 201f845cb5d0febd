"""Tags of transcripts: marks of what is not speech, in the notations of the corpora of the field.

    [SONANT] [LAUGH/] [*] [+] [++]          MagicHub: sounds, unintelligible speech, overlap
    [laughter] [laughter-yes] [noise]       Switchboard; "yes" in `[laughter-yes]` is spoken
    <noise> <unk> {breath} (( ))            Fisher, TED-LIUM, the British National Corpus
    (coughs) （笑） [笑声] 【笑声】         subtitles
    music notes and emoji                   subtitles, chat

Text in round or square brackets is a tag only if it names a sound, with at most one more word: "[this]" and "(I think)"
are text. The marks `((` and `))` around uncertain words are tags, the words are text.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["FoundTag", "find_tags", "has_unintelligible", "has_words"]

_SOUNDS = (
    r"noises?|laugh(?:s|ter|ing|ed)?|chuckl\w*|giggl\w*|cough\w*|breath\w*|inhal\w*|exhal\w*|sigh\w*|sneez\w*|sniff\w*"
    r"|sob(?:s|bing)|cry|cries|crying|yawn\w*|gasp\w*|groan\w*|grunt\w*|hums|humming|whistl\w*|clears\ throat"
    r"|throat[ _-]clear\w*|lip[ _-]?smack\w*|smack\w*|click\w*|music|singing|sings|applause|applauds|clap(?:s|ping)"
    r"|silence|sil|pauses?|cross[ _-]?talk|overlap\w*|unk|unknown|unintelligible|inaudible|indistinct|unclear|beeps?"
    r"|beeping|rings|ringing|static|spn|nsn|eps|no[ _-]speech|hesitation"
)
_SOUNDS_CJK = (
    "笑|咳|噪|音乐|音樂|音楽|掌声|拍手|鼓掌|叹气|嘆氣|呼吸|喘"
    "|听不清|聽不清|聞き取れ|停顿|静音|雑音|웃음|기침|음악|박수|소음"
)
_NAMED = (
    rf"(?i:/?(?:[a-z]+[ _-])?(?:{_SOUNDS})/?|(?:{_SOUNDS})[ _-][a-z]+)"
    rf"|[^\[\]()（）]{{0,8}}(?:{_SOUNDS_CJK})[^\[\]()（）]{{0,8}}"
)
_UNINTELLIGIBLE = re.compile(
    r"\[\*{1,4}\]|\(\(\s*\)\)|[\[<{(（【][^\[\]<>{}()（）【】]*"
    r"(?:unintelligible|inaudible|indistinct|unclear|unknown|\bunk\b|听不清|聽不清|聞き取れ)",
    re.IGNORECASE,
)
_EMOJI = "\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff\ufe0f\u20e3"
_TAG = re.compile(
    rf"\[laughter-(?P<spoken>[^\[\]]{{1,30}})\]"
    rf"|\[(?:/?[A-Z][A-Z0-9_/ -]{{0,30}}|\*{{1,4}}|\+{{1,4}}|{_NAMED})\]"
    rf"|</?[A-Za-z][^<>|]{{0,40}}>"
    rf"|(?<!\{{)\{{[^\W\d_][^{{}}]{{0,40}}\}}(?!\}})"
    rf"|【[^【】]{{1,20}}】"
    rf"|\(\(|\)\)"
    rf"|[(（](?:{_NAMED})[)）]"
    rf"|[{_EMOJI}]+(?:\u200d[{_EMOJI}]+)*"
)


class FoundTag(NamedTuple):
    """A tag in a text: its characters `[start, end)`, its text, and a word in it that is spoken."""

    start: int
    end: int
    text: str
    spoken: str


def find_tags(text: str) -> Iterator[FoundTag]:
    """Return the tags of a text in order."""
    for match in _TAG.finditer(text):
        yield FoundTag(match.start(), match.end(), match.group(), match["spoken"] or "")


def has_unintelligible(text: str) -> bool:
    """Return whether a text has a tag for speech that could not be understood, such as `[*]`, `<unk>` or `(( ))`."""
    return _UNINTELLIGIBLE.search(text) is not None


def has_words(text: str) -> bool:
    """Return whether a text has a letter or digit outside tags."""
    return any(character.isalnum() for character in _TAG.sub(lambda match: match["spoken"] or " ", text))
