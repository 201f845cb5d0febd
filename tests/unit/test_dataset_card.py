"""The dataset card: valid metadata, escaped text from sites, links only to web pages."""

import errno
import json
from pathlib import Path

import pytest
from huggingface_hub import DatasetCard

from sca.data.datasets.card import Card, CardConfig, RecordingSource, read_source, write_card

UNTRUSTED = "a | b `c` *d* [e](f)\n# g <h> &lt; $i$"


def card(*sources: RecordingSource, **fields) -> Card:
    configs = [
        CardConfig("rows", {"train": "train/*.arrow", "test": "test/*.arrow"}, default=True),
        CardConfig("storage", {"storage": "storage/*.arrow"}),
    ]
    return Card("Title", "Summary.", configs, {"rows": "3"}, sources=sources, **fields)


def test_metadata_is_read_back(tmp_path):
    write_card(tmp_path, card(languages=["no", "en", "no"], tags=["yes: {a}"], tasks=["text-to-speech"]))
    data = DatasetCard.load(tmp_path / "README.md").data.to_dict()
    assert data == {
        "language": ["en", "no"],
        "license": "unknown",
        "tags": ["yes: {a}"],
        "task_categories": ["text-to-speech"],
        "pretty_name": "Title",
        "configs": [
            {
                "config_name": "rows",
                "default": True,
                "data_files": [
                    {"split": "train", "path": "train/*.arrow"},
                    {"split": "test", "path": "test/*.arrow"},
                ],
            },
            {"config_name": "storage", "data_files": [{"split": "storage", "path": "storage/*.arrow"}]},
        ],
    }


def test_untrusted_text_is_escaped(tmp_path):
    source = RecordingSource(UNTRUSTED, title=UNTRUSTED, url="https://example.org/a b)|<c>", license="---\nx: y")
    write_card(tmp_path, card(source, sections={"Use": "*Markdown*"}))
    loaded = DatasetCard.load(tmp_path / "README.md")
    escaped = r"a \| b \`c\` \*d\* \[e\](f) # g \<h\> \&lt; \$i\$"
    row = f"| [{escaped}](https://example.org/a%20b%29%7C%3Cc%3E) | {escaped} |  |  | --- x: y |"
    assert row in loaded.text.splitlines()
    assert "*Markdown*" in loaded.text
    assert loaded.data.license == "other"
    assert json.loads((tmp_path / "sources.jsonl").read_text())["title"] == UNTRUSTED


def test_card_has_no_controls_of_a_title(tmp_path):
    write_card(tmp_path, card(RecordingSource("name", title="a\x1b[2J\u202eb")))
    assert r"a\\x1b\[2J\\u202eb" in (tmp_path / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("url", ["javascript:alert(1)", "file:///etc/passwd", "https://[broken", None])
def test_only_web_pages_are_linked(tmp_path, url):
    write_card(tmp_path, card(RecordingSource("name", url=url)))
    assert "| name |  |  |  | unknown |" in (tmp_path / "README.md").read_text()


def test_same_content_gives_same_bytes(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_card(tmp_path / name, card(RecordingSource("x", license="Creative Commons"), languages=["de", "en"]))
    for file in ("README.md", "sources.jsonl"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_lists_at_most_fifty_sources(tmp_path):
    write_card(tmp_path, card(*(RecordingSource(f"show{n}") for n in range(60))))
    text = (tmp_path / "README.md").read_text()
    assert ("| show49 |" in text, "| show50 |" in text) == (True, False)
    assert "and 10 more" in text
    assert len((tmp_path / "sources.jsonl").read_text().splitlines()) == 60


def test_reads_metadata_of_downloads(tmp_path):
    info = tmp_path / "a.info.json"
    info.write_text(
        json.dumps({"title": "T", "original_url": "https://e.org", "uploader": "U", "upload_date": "20240229"})
    )
    assert read_source("a", info) == RecordingSource("a", "T", "https://e.org", "U", None, "2024-02-29")
    info.write_text("[]")
    assert read_source("a", info) == read_source("a", None) == read_source("a", tmp_path / "no") == RecordingSource("a")


def test_a_licence_that_cannot_be_read_now_is_not_left_out(monkeypatch, tmp_path):
    def refuse(path, *_, **__):
        raise OSError(errno.EMFILE, "Too many open files", str(path))

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(OSError, match="Too many open files"):
        read_source("a", tmp_path / "a.info.json")
