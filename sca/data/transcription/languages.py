"""The languages of Whisper: their codes, and their names in English."""

from difflib import get_close_matches

from sca.errors import UsageError

__all__ = ["LANGUAGES", "language_code"]

# From the table of openai/whisper (`tokenizer.py`), further names after a bar. faster-whisper has only the codes.
_TABLE = """
af=afrikaans, am=amharic, ar=arabic, as=assamese, az=azerbaijani, ba=bashkir, be=belarusian, bg=bulgarian,
bn=bengali, bo=tibetan, br=breton, bs=bosnian, ca=catalan|valencian, cs=czech, cy=welsh, da=danish,
de=german, el=greek, en=english, es=spanish|castilian, et=estonian, eu=basque, fa=persian, fi=finnish,
fo=faroese, fr=french, gl=galician, gu=gujarati, ha=hausa, haw=hawaiian, he=hebrew, hi=hindi, hr=croatian,
ht=haitian creole|haitian, hu=hungarian, hy=armenian, id=indonesian, is=icelandic, it=italian, ja=japanese,
jw=javanese, ka=georgian, kk=kazakh, km=khmer, kn=kannada, ko=korean, la=latin,
lb=luxembourgish|letzeburgesch, ln=lingala, lo=lao, lt=lithuanian, lv=latvian, mg=malagasy, mi=maori,
mk=macedonian, ml=malayalam, mn=mongolian, mr=marathi, ms=malay, mt=maltese, my=myanmar|burmese, ne=nepali,
nl=dutch|flemish, nn=nynorsk, no=norwegian, oc=occitan, pa=punjabi|panjabi, pl=polish, ps=pashto|pushto,
pt=portuguese, ro=romanian|moldavian|moldovan, ru=russian, sa=sanskrit, sd=sindhi, si=sinhala|sinhalese,
sk=slovak, sl=slovenian, sn=shona, so=somali, sq=albanian, sr=serbian, su=sundanese, sv=swedish, sw=swahili,
ta=tamil, te=telugu, tg=tajik, th=thai, tk=turkmen, tl=tagalog, tr=turkish, tt=tatar, uk=ukrainian, ur=urdu,
uz=uzbek, vi=vietnamese, yi=yiddish, yo=yoruba, yue=cantonese, zh=chinese|mandarin
"""


def _parsed(table: str) -> dict[str, tuple[str, ...]]:
    rows = (row.strip().partition("=") for row in table.split(","))
    return {code: tuple(names.split("|")) for code, _, names in rows}


LANGUAGES = _parsed(_TABLE)
"""The names of each language in lower case, by its code; the first one is Whisper's own."""
_CODES = {name: code for code, names in LANGUAGES.items() for name in names}


def language_code(language: str) -> str:
    """Return the code of a language.

    Args:
        language: A code such as `en`, or an English name such as `English`, in any case.

    Raises:
        UsageError: Whisper does not have the language.
    """
    wanted = " ".join(language.lower().split())
    if wanted in LANGUAGES:
        return wanted
    if wanted in _CODES:
        return _CODES[wanted]
    near = get_close_matches(wanted, _CODES, 1)
    suggestion = f"did you mean {near[0].title()} ({_CODES[near[0]]})? " if near else ""
    raise UsageError(
        f"Whisper does not have the language {language!r}",
        hint=f"{suggestion}give a code such as en, or an English name such as English",
    )
