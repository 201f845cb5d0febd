"""The verdict about a data set: `ok`, `look here` or `broken`, with the reasons, from the content of its report."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sca.textutil import counted

__all__ = ["BAD_FLAGS", "Level", "Verdict", "verdict_of", "words_against_sound"]

BAD_FLAGS = ("lag", "forced_cut", "word_cut")
"""Flags of rows to look at, the worst first: late tokens, and cuts where a speaker speaks."""

_TWICE = frozenset({"same_recording", "same_sound", "same_transcript", "same_voice"})

Level = Literal["ok", "look", "broken", "unknown"]
"""How a number is marked: fine, something to look at, wrong, or not measured."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict about a data set.

    Attributes:
        level: The worst of its reasons.
        sentence: The verdict as a sentence.
    """

    level: Level
    sentence: str


def words_against_sound(report: Mapping[str, Any]) -> str:
    """Return the verdict about words and sound in the content of a `report.json`."""
    evidence = report.get("evidence")
    if evidence is None:
        return "not measured"
    found = evidence["findings"]
    return f"look here: {counted(len(found), 'place')}" if found else "ok"


def verdict_of(report: Mapping[str, Any]) -> Verdict:
    """Return the verdict about a data set.

    Args:
        report: The content of `report.json`, also of an earlier version.
    """
    broken, look = list(_broken(report)), list(_to_look_at(report))
    if broken:
        return Verdict("broken", f"{_listed(broken + look)}. Run sca verify, and build the data set again.")
    if look:
        return Verdict("look", f"{_listed(look)}.")
    tracks = counted(report["sessions"]["tracks"], "track")
    if report.get("evidence") is None:
        return Verdict("unknown", f"Whether the words belong to the sound was not measured in {tracks}.")
    return Verdict("ok", f"Words and sound belong together in {tracks}, and no token was dropped.")


def _broken(report: Mapping[str, Any]) -> Iterator[str]:
    coverage, leak = report["coverage"], report["leak"]
    if dropped := coverage["tokens_dropped"]:
        yield f"{counted(dropped, 'token')} lost by placement"
    missing = coverage["words"] - coverage["words_in_rows"]
    if missing and not (coverage["units_dropped_on_request"] or coverage.get("rows_left_out")):
        yield f"{counted(missing, 'word')} in no row"
    if tokens := leak["placement_tokens"]:
        yield f"{counted(tokens, 'token')} after the onset of their word, without lag"


def _to_look_at(report: Mapping[str, Any]) -> Iterator[str]:
    kinds = [finding["kind"] for finding in (report.get("evidence") or {}).get("findings", [])]
    twice = sum(kind in _TWICE for kind in kinds)
    if len(kinds) > twice:
        yield f"{counted(len(kinds) - twice, 'place')} where words and sound do not belong together"
    if twice:
        yield f"{counted(twice, 'finding')} of data that is there twice"
    if rows := sum(report["row_flags"].get(flag, 0) for flag in BAD_FLAGS):
        yield f"{counted(rows, 'flag')} of rows with late tokens or with a cut in speech"
    if failed := report["sessions"]["failed"]:
        yield f"{counted(failed, 'session')} failed"
    if excess := _sessions_with_bleed(report):
        yield f"{counted(excess, 'session')} with more cross-talk than {report['made_with']['duplex']['max_bleed']:.0%}"
    rate = report.get("text_rate")
    if rate is not None and not rate["sufficient"]:
        yield f"no room for {rate['late_share']:.0%} of the tokens at their time"


def _sessions_with_bleed(report: Mapping[str, Any]) -> int:
    """Return the number of sessions with too much cross-talk that was not silenced."""
    duplex = report["made_with"]["duplex"]
    sessions = report["bleed"].get("sessions") or []
    if duplex["on_bleed"] == "gate":
        return 0
    return sum(session["share"] > duplex["max_bleed"] for session in sessions)


def _listed(parts: list[str]) -> str:
    text = "; ".join(parts)
    return text[:1].upper() + text[1:]
