"""The dataset card: a README.md with the metadata for `datasets` and the hub, facts, licences and sources.

Kinds of data sets define the content of their cards; this module formats it. Text that comes from a site, such as a
title, is escaped, so that it cannot change the structure of the card. The same content always gives the same bytes.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from sca.data.runs.files import atomic_write, write_json_lines
from sca.errors import is_of_system
from sca.textutil import printable

if TYPE_CHECKING:
    from huggingface_hub import DatasetCardData

__all__ = ["Card", "CardConfig", "RecordingSource", "hub_configs", "read_source", "save_readme", "write_card"]

UNKNOWN = "unknown"
_MAX_SOURCES = 50  # the card lists no more than this; sources.jsonl has all of them
_MARKDOWN_SPECIAL = re.compile(r"([\\`*_\[\]<>|~$&])")
_URL_SAFE = "%/:?#@!$&'*+,;=~"


@dataclass(frozen=True, slots=True)
class CardConfig:
    """A table of the data set, as `datasets.load_dataset(path, name)` opens it.

    Attributes:
        name: The name of the table.
        files: For each split, the pattern of its files below the root of the data set.
        default: Whether `load_dataset(path)` opens this table.
    """

    name: str
    files: Mapping[str, str]
    default: bool = False


@dataclass(frozen=True, slots=True)
class RecordingSource:
    """Where one recording comes from, as far as it is known. One line of sources.jsonl."""

    item: str
    title: str | None = None
    url: str | None = None
    channel: str | None = None
    license: str | None = None
    upload_date: str | None = None


@dataclass(frozen=True, slots=True)
class Card:
    """The content of a dataset card.

    Attributes:
        title: The heading, also the `pretty_name` on the hub.
        summary: One sentence, Markdown.
        configs: The tables of the data set.
        facts: The lines of the table at the top, plain text.
        sources: The sources of the recordings.
        languages: The languages of the recordings.
        tags: The hub's tags.
        tasks: The hub's task categories.
        sections: Further sections: heading and Markdown.
    """

    title: str
    summary: str
    configs: Sequence[CardConfig]
    facts: Mapping[str, str]
    sources: Sequence[RecordingSource] = ()
    languages: Sequence[str] = ()
    tags: Sequence[str] = ()
    tasks: Sequence[str] = ()
    sections: Mapping[str, str] = field(default_factory=dict)

    def metadata(self) -> "DatasetCardData":
        """Return the metadata block."""
        from huggingface_hub import DatasetCardData

        return DatasetCardData(
            license=_hub_license({source.license for source in self.sources}),
            language=sorted(set(self.languages)) or None,
            tags=list(self.tags) or None,
            task_categories=list(self.tasks) or None,
            pretty_name=self.title,
            configs=hub_configs(self.configs),
        )

    def body(self) -> str:
        """Return the Markdown below the metadata."""
        lines = [f"# {self.title}", "", self.summary, "", *_table(("", ""), self.facts.items())]
        for heading, text in self.sections.items():
            lines += ["", f"## {heading}", "", text.strip()]
        if self.sources:
            lines += ["", "## Licences and provenance", "", *self._licences(), "", *self._sources()]
        return "\n".join(lines) + "\n"

    def _licences(self) -> list[str]:
        counts = Counter(source.license or UNKNOWN for source in self.sources)
        rows = [(name, str(count)) for name, count in sorted(counts.items())]
        lines = _table(("licence, as stated by the site", "recordings"), rows)
        if counts[UNKNOWN]:
            lines += [
                "",
                "Where the licence is unknown, the rights are with the makers: ask them before you share the data.",
            ]
        return lines

    def _sources(self) -> list[str]:
        rows = [
            (
                source.item,
                source.title or "",
                source.channel or "",
                source.upload_date or "",
                source.license or UNKNOWN,
            )
            for source in self.sources[:_MAX_SOURCES]
        ]
        links = [source.url for source in self.sources[:_MAX_SOURCES]]
        lines = _table(("recording", "title", "by", "published", "licence"), rows, links)
        if len(self.sources) > _MAX_SOURCES:
            lines += ["", f"… and {len(self.sources) - _MAX_SOURCES} more; `sources.jsonl` lists all of them."]
        return lines


def hub_configs(configs: Iterable[CardConfig]) -> list[dict[str, object]]:
    """Return the `configs` of a metadata block."""
    return [
        {
            "config_name": config.name,
            **({"default": True} if config.default else {}),
            "data_files": [{"split": split, "path": pattern} for split, pattern in config.files.items()],
        }
        for config in configs
    ]


def _hub_license(licences: set[str | None]) -> str:
    """Return the hub's identifier of the licence: `other` for several licences, `unknown` without any."""
    if len(licences) > 1:
        return "other"
    licence = next(iter(licences), None)
    if licence is None:
        return "unknown"
    return "cc" if "creative commons" in licence.lower() else "other"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], links: Sequence[str | None] = ()) -> list[str]:
    """Format a table of plain text. `links` are the URLs of the first cells, if there are any."""
    lines = [_row(header), "|" + "---|" * len(header)]
    for n, row in enumerate(rows):
        cells = [_escaped(cell) for cell in row]
        if n < len(links):
            cells[0] = _link(cells[0], links[n])
        lines.append(_row(cells))
    return lines


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    """Return Markdown that displays the text as it is, on one line."""
    return _MARKDOWN_SPECIAL.sub(r"\\\1", printable(" ".join(text.split())))


def _link(text: str, url: str | None) -> str:
    """Return a Markdown link; only the text if the URL is not an HTTP address."""
    try:
        is_web = url is not None and urlsplit(url).scheme in ("http", "https")
    except ValueError:
        is_web = False
    return f"[{text}]({quote(url, safe=_URL_SAFE)})" if url is not None and is_web else text


def read_source(item: str, info: Path | None) -> RecordingSource:
    """Read the metadata that `sca download` wrote beside a recording.

    Args:
        item: The name of the recording.
        info: The .info.json file, or None if it does not exist.

    Returns:
        The source; only with its `item` if the file is missing or cannot be parsed.

    Raises:
        OSError: The system cannot read the file now, see `is_of_system`.
    """
    try:
        document = json.loads(info.read_text(encoding="utf-8")) if info is not None else None
    except OSError as error:
        if is_of_system(error):
            raise  # a card without a licence that is known would be wrong
        document = None
    except ValueError:
        document = None
    if not isinstance(document, dict):
        return RecordingSource(item)
    fields: dict[str, object] = document

    def text(*names: str) -> str | None:
        return next((str(fields[name]) for name in names if fields.get(name)), None)

    day = fields.get("upload_date")
    return RecordingSource(
        item=item,
        title=text("title"),
        url=text("webpage_url", "original_url"),
        channel=text("channel", "uploader"),
        license=text("license"),
        upload_date=f"{day[:4]}-{day[4:6]}-{day[6:]}" if isinstance(day, str) and len(day) == 8 else None,
    )


def write_card(root: Path, card: Card) -> None:
    """Write README.md, and sources.jsonl with the source of every recording."""
    write_json_lines(root / "sources.jsonl", map(asdict, card.sources))
    save_readme(root, card.metadata(), card.body())


def save_readme(root: Path, metadata: "DatasetCardData", body: str) -> None:
    """Write README.md.

    Args:
        root: The data set.
        metadata: The metadata block.
        body: The Markdown below it.
    """
    with atomic_write(root / "README.md") as temporary:
        temporary.write_text(f"---\n{metadata.to_yaml()}\n---\n\n{body}", encoding="utf-8", newline="\n")
