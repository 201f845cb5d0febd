"""TextGrid (Praat, MFA) and ELAN: each tier is a speaker; tiers of words give the times of the words.

praatio and pympi-ling read the files; both are in the extra `corpora`.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

from sca.data.corpora.segments.model import Parsed, Segment, Word, checked
from sca.distribution import install_extra
from sca.errors import MissingToolError
from sca.files.bounded import check_size

__all__ = ["read_eaf", "read_textgrid"]

_Interval = tuple[float, float, str]

_KIND = re.compile(r"(.*?)[\s_.:/-]*\b(words?|phones?|phonemes?|syllables?|segments?|utterances?)", re.IGNORECASE)
_SILENCES = {"", "sil", "sp", "spn", "<sil>", "<p:>", "<eps>", "#"}


def read_textgrid(path: Path) -> Parsed:
    """Read the interval tiers of a TextGrid, in any encoding and in both of Praat's text forms.

    Raises:
        ValueError: praatio cannot read the file.
        MissingToolError: praatio is not installed.
    """
    praatio = _library("praatio.textgrid", "praatio")
    check_size(path)
    try:
        grid = praatio.openTextgrid(str(path), False, reportingMode="silence", duplicateNamesMode="rename")
    except Exception as error:  # praatio raises what its parser meets: IndexError, ValueError, its own
        raise ValueError(
            f"{path} is not a TextGrid that praatio can read ({error}); open and save it in Praat"
        ) from error
    tiers = [tier for tier in grid.tiers if tier.entries and len(tier.entries[0]) == 3]
    return _segments(
        (tier.name, [(float(start), float(end), label) for start, end, label in tier.entries]) for tier in tiers
    )


def read_eaf(path: Path) -> Parsed:
    """Read the tiers of an ELAN file. The participant of a tier, if it has one, is the speaker.

    Raises:
        ValueError: pympi cannot read the file.
        MissingToolError: pympi-ling is not installed.
    """
    pympi = _library("pympi.Elan", "pympi-ling")
    check_size(path)
    try:
        if ElementTree.parse(path).find(".//ANNOTATION") is None:  # noqa: S314 - pympi parses it so as well
            return iter(())  # pympi cannot read a document without attributes
        eaf = pympi.Eaf(str(path), suppress_version_warning=True)
        tiers: list[tuple[str, list[_Interval]]] = []
        for name in eaf.get_tier_names():
            entries = [entry[:3] for entry in eaf.get_annotation_data_for_tier(name)]
            kind = _KIND.fullmatch(name)
            participant = eaf.tiers[name][2].get("PARTICIPANT")
            named = f"{participant} {kind[2] if kind else ''}".strip() if participant else name
            timed = [entry for entry in entries if entry[0] is not None and entry[1] is not None]
            tiers.append((named, [(start / 1000, end / 1000, text or "") for start, end, text in timed]))
    except Exception as error:  # pympi raises what it meets in the XML: KeyError, ParseError and others
        raise ValueError(
            f"{path} is not an ELAN file that pympi can read ({error}); open and save it in ELAN"
        ) from error
    return _segments(tiers)


def _segments(tiers: Iterable[tuple[str, list[_Interval]]]) -> Parsed:
    """Make segments of tiers by name: `nora`, `nora - words`, `nora - phones`; phones and syllables are not used."""
    turns: dict[str, list[_Interval]] = {}
    words: defaultdict[str, list[Word]] = defaultdict(list)
    for name, intervals in tiers:
        kind = _KIND.fullmatch(name.strip())
        speaker, what = (kind[1].strip(), kind[2].casefold()) if kind else (name.strip(), "utterance")
        spoken = [
            (start, end, text.strip()) for start, end, text in intervals if text.strip().casefold() not in _SILENCES
        ]
        if what.startswith("word"):
            words[speaker] += [Word("".join(text.split()), start, end) for start, end, text in spoken]
        elif what.startswith("utterance") and spoken:
            turns.setdefault(speaker, []).extend(spoken)
    for speaker, spoken in turns.items():
        timed = words.pop(speaker, [])
        for number, (start, end, text) in enumerate(spoken, 1):
            own = tuple(word for word in timed if start <= (word.start_s + word.end_s) / 2 < end)
            label = f"interval {number} of {speaker or 'the utterances'}"
            yield checked(Segment(start, end, text, speaker or None, words=own, label=label))
    for speaker, timed in words.items():
        if timed:
            yield Segment(timed[0].start_s, timed[-1].end_s, "", speaker or None, words=tuple(timed))


def _library(module: str, package: str) -> ModuleType:
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingToolError(
            f"{package}, which reads this transcript, is not installed",
            hint=f"install it with: {install_extra('corpora')}",
        ) from error
