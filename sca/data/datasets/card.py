"""The README.md of a data set: what is in it, where it comes from, and the YAML by which `datasets` and the hub open it.

Knows no columns and no hub; a data set of any kind brings its facts. Licences are told as the download step found them, and what is
not known is called unknown.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sca.data.runs.files import atomic_write, write_json_lines

__all__ = ["Card", "CardConfig", "Source", "read_source", "write_card"]

UNKNOWN = "unknown"
_SOURCES_SHOWN = 50


@dataclass(frozen=True, slots=True)
class CardConfig:
    """One table of the data set: `load_dataset(path, name)` gives its split. files: a pattern below the data set's root."""

    name: str
    split: str
    files: str
    rows: int
    default: bool = False


@dataclass(frozen=True, slots=True)
class Source:
    """Where one recording comes from."""

    item: str
    title: str | None = None
    url: str | None = None
    channel: str | None = None
    license: str | None = None
    upload_date: str | None = None


@dataclass(frozen=True, slots=True)
class Card:
    """What a card says. facts: lines of the table at its top.   sections: heading → Markdown."""

    title: str
    summary: str
    configs: Sequence[CardConfig]
    facts: Mapping[str, str]
    sources: Sequence[Source] = ()
    languages: Sequence[str] = ()
    tags: Sequence[str] = ()
    tasks: Sequence[str] = ()
    sections: Mapping[str, str] = field(default_factory=dict)

    def text(self) -> str:
        """The file."""
        lines = ["---", self._yaml(), "---", "", f"# {self.title}", "", self.summary, "", "| | |", "|---|---|"]
        lines += [f"| {_cell(name)} | {_cell(value)} |" for name, value in self.facts.items()]
        for heading, body in self.sections.items():
            lines += ["", f"## {heading}", "", body.strip()]
        if self.sources:
            lines += ["", "## Licences and provenance", "", *self._licences(), "", *self._sources()]
        return "\n".join(lines) + "\n"

    def _yaml(self) -> str:
        from huggingface_hub import DatasetCardData

        known = {one.license for one in self.sources}
        data = DatasetCardData(
            license=_hub_license(known),
            language=sorted(set(self.languages)) or None,
            tags=list(self.tags) or None,
            task_categories=list(self.tasks) or None,
            pretty_name=self.title,
            configs=[
                {
                    "config_name": one.name,
                    "data_files": [{"split": one.split, "path": one.files}],
                    **({"default": True} if one.default else {}),
                }
                for one in self.configs
            ],
        )
        return str(data.to_yaml()).strip()

    def _licences(self) -> list[str]:
        found = Counter(one.license or UNKNOWN for one in self.sources)
        lines = ["| licence, as the site says | recordings |", "|---|---|"]
        lines += [f"| {_cell(name)} | {count} |" for name, count in sorted(found.items())]
        if found[UNKNOWN]:
            lines += [
                "",
                "Where the licence is unknown the rights are with the makers: ask before you pass anything on.",
            ]
        return lines

    def _sources(self) -> list[str]:
        lines = ["| recording | title | by | published | licence |", "|---|---|---|---|---|"]
        for one in list(self.sources)[:_SOURCES_SHOWN]:
            name = f"[{_cell(one.item)}]({one.url})" if one.url else _cell(one.item)
            cells = (one.title, one.channel, one.upload_date, one.license or UNKNOWN)
            lines.append(f"| {name} | {' | '.join(_cell(cell or '') for cell in cells)} |")
        if len(self.sources) > _SOURCES_SHOWN:
            lines += ["", f"… and {len(self.sources) - _SOURCES_SHOWN} more; `sources.jsonl` has them all."]
        return lines


def _hub_license(known: set[str | None]) -> str:
    """The hub's short name, where one licence holds for everything and the hub has it."""
    if len(known) != 1:
        return "other" if known else "unknown"
    (one,) = known
    if one is None:
        return "unknown"
    return "cc" if "creative commons" in one.lower() else "other"


def _cell(text: str) -> str:
    return " ".join(str(text).split()).replace("|", "\\|")


def read_source(item: str, info: Path | None) -> Source:
    """What `sca download` wrote beside a file, as a source; only the item where there is nothing, or nothing readable."""
    plain: Any = None
    if info is not None:
        try:
            plain = json.loads(info.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            plain = None
    if not isinstance(plain, dict):
        return Source(item)
    day = plain.get("upload_date")

    def text(*names: str) -> str | None:
        return next((str(plain[name]) for name in names if plain.get(name)), None)

    return Source(
        item=item,
        title=text("title"),
        url=text("webpage_url", "original_url"),
        channel=text("channel", "uploader"),
        license=text("license"),
        upload_date=f"{day[:4]}-{day[4:6]}-{day[6:]}" if isinstance(day, str) and len(day) == 8 else None,
    )


def write_card(root: Path, card: Card) -> None:
    """Write README.md, and sources.jsonl with every recording's source."""
    rows = ({name: getattr(one, name) for name in Source.__slots__} for one in card.sources)
    write_json_lines(root / "sources.jsonl", rows)
    with atomic_write(root / "README.md") as temporary:
        temporary.write_text(card.text(), encoding="utf-8")
