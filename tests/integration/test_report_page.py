"""`report.html` in a browser: verdict, tables, links that work, and the same words as the card."""

import json
import shlex
import shutil

import pytest
from playwright.sync_api import sync_playwright
from typer.testing import CliRunner

from sca.cli.main import app
from sca.data.duplex.build.dataset import build_duplex
from sca.data.duplex.inspect import row_pages
from sca.data.duplex.inspect.page_files import page_name, present_pages
from sca.data.duplex.model.report import Report
from sca.data.duplex.model.row_names import typed_row_id
from sca.data.duplex.verify.dataset import verify
from tests.helpers import corpus
from tests.helpers.broken import REASON, break_for
from tests.helpers.command import sca

RTL = "שלום <b>&amp;"


@pytest.fixture(scope="module")
def browser():
    path = shutil.which("chromium")
    assert path, "chromium is missing: apt-get install chromium (scripts/test does)"
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(
            executable_path=path, headless=True, args=["--no-sandbox", "--disable-gpu"], timeout=120_000
        )
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The demo with swapped recordings, a skipped line, and times that are interpolated, in a folder with a space."""
    root = tmp_path_factory.mktemp("report page")
    source = corpus.demo(root / "corpus")
    shutil.rmtree(source / "WORDS")
    first, second = sorted((source / "WAV").iterdir())
    first.rename(root / "first"), second.rename(first), (root / "first").rename(second)
    text = sorted((source / "TXT").iterdir())[0]
    text.write_text(text.read_text() + f"[1.0,{RTL}]\tG0001\tm\thello\n")
    build_duplex(source, root / "data", corpus.settings())
    return root / "data"


@pytest.fixture
def opened(browser):
    """Open a page. At the end there must be no console message."""
    contexts, messages = [], []

    def open_page(path, scheme="light", width=1200):
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        contexts.append(context)
        context.set_default_timeout(120_000)
        page = context.new_page()
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-ready]")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert messages == []


def table(page, title):
    return page.locator("section.report", has=page.locator("h2", has_text=title))


def test_the_verdict_and_the_findings_are_on_top(opened, data):
    page = opened(data / "report.html")
    assert page.locator("#verdict").inner_text().startswith("▲ look here")
    found = table(page, "Words against sound")
    assert "▲ look here" in found.locator("h2").inner_text()
    assert "swapped" in found.locator("tbody").inner_text()
    ok = table(page, "Cross-talk by session").locator("h2")
    assert ok.inner_text().endswith("✓ ok")
    colours = {
        one.evaluate("element => getComputedStyle(element).color")
        for one in (found.locator("h2 .mark"), ok.locator(".mark"))
    }
    assert len(colours) == 2


def test_a_row_without_a_page_has_its_command(opened, data):
    page = opened(data / "report.html")
    command = table(page, "Words against sound").locator("code").first.inner_text()
    words = shlex.split(command)
    assert words[:3] == ["sca", "inspect", str(data)]
    assert sca(*words[1:]).returncode == 0
    assert page.locator("section.report a").count() == 0
    assert shlex.split(page.locator("#browse code").inner_text()) == ["sca", "browse", str(data)]


def test_pages_of_rows_are_linked_and_open(opened, data, tmp_path):
    shutil.copytree(data, tmp_path / "data")
    made = sca("inspect", tmp_path / "data", "--pages", "1", "--json")
    assert made.returncode == 0, made.stderr
    page = opened(tmp_path / "data" / "report.html")
    table(page, "Words against sound").locator("a").first.click()
    page.wait_for_selector("html[data-ready]")
    assert page.locator("h1").inner_text() in json.loads(made.stdout)["pages"]
    assert page.locator("#sound").count() == 1
    assert verify(tmp_path / "data").holds


def test_a_missing_page_is_found_and_the_next_report_has_no_link(data, tmp_path):
    shutil.copytree(data, tmp_path / "data")
    assert sca("inspect", tmp_path / "data", "--pages", "1", "--quiet").returncode == 0
    (path,) = (tmp_path / "data" / "inspect").glob("*.html")
    path.unlink()
    assert any(f"links to inspect/{path.name}" in problem for problem in verify(tmp_path / "data").problems)
    build_duplex(data.parent / "corpus", tmp_path / "data", corpus.settings())
    assert verify(tmp_path / "data").holds


def test_pages_of_other_rows_are_removed(data, tmp_path):
    source = shutil.copytree(data.parent / "corpus", tmp_path / "corpus")
    shutil.copytree(data, tmp_path / "data")
    assert sca("inspect", tmp_path / "data", "--pages", "1", "--quiet").returncode == 0
    text = sorted((source / "TXT").iterdir())[1]
    text.write_text("".join(text.read_text().splitlines(keepends=True)[:-1]))
    report = build_duplex(source, tmp_path / "data", corpus.settings()).details.report
    assert not (tmp_path / "data" / "inspect").exists()
    assert present_pages(tmp_path / "data", report.model_dump()) == {}


def test_pages_choose_their_rows(data):
    refused = sca("inspect", data, "0", "--pages", "1")
    assert refused.returncode == 2
    assert "--pages chooses the rows itself" in refused.stderr


def test_a_page_that_fails_does_not_end_the_others(data, tmp_path, monkeypatch):
    shutil.copytree(data, tmp_path / "data")
    words = ["inspect", str(tmp_path / "data"), "--pages", "3"]
    rows = list(json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)["pages"])
    shutil.rmtree(tmp_path / "data" / "inspect")
    break_for(monkeypatch, row_pages, "page_name", rows[0])
    done = CliRunner().invoke(app, [*words, "--json"])
    printed = json.loads(done.stdout)
    assert (done.exit_code, list(printed["pages"]), printed["failed"]) == (7, rows[1:], {rows[0]: REASON})
    assert f"{typed_row_id(rows[0])}: failed: unexpected ZeroDivisionError" in " ".join(done.stderr.split())
    assert sorted(path.name for path in (tmp_path / "data" / "inspect").glob("*.html")) == sorted(
        map(page_name, rows[1:])
    )
    assert verify(tmp_path / "data").holds


def test_skipped_lines_are_shown_as_text(opened, data):
    page = opened(data / "report.html", scheme="dark", width=360)
    skipped = table(page, "Skipped lines and files")
    assert RTL in skipped.locator("td").inner_text()
    assert skipped.locator("td").get_attribute("dir") == "auto"
    assert skipped.locator("b").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_interpolated_times_have_the_same_words_everywhere(opened, data):
    page = opened(data / "report.html")
    placement = table(page, "Placement of tokens")
    assert "? not known" in placement.locator("h2").inner_text()
    text = placement.inner_text()
    for words in (
        "placement against the times used",
        "not known for 100% of the words (interpolated times)",
        "0.07-0.09 s off",
    ):
        assert words in text
        assert words in (data / "README.md").read_text()
        assert any(words in f"{check.name} {check.found}" for check in verify(data).checks)
    assert "token-time error" not in page.locator("body").inner_text()


def test_numbers_per_split_rate_and_session(tmp_path):
    lines = {"G1": [(0.5, 2.0, "hello there"), (4.0, 5.0, "good")], "G2": [(2.5, 3.5, "and you")]}
    for session, rate in (("A1_S1_0", 8000), ("B1_S1_0", 24000)):
        for speaker, own in lines.items():
            corpus.write_track(tmp_path / "corpus", f"{session}_{session[0]}{speaker}", own, 6.0, rate=rate)
    report = build_duplex(tmp_path / "corpus", tmp_path / "data", corpus.settings(validation=0.5)).details.report
    assert report.sources.rates == {"8000": 2, "24000": 2}
    assert (report.sources.upsampled_heard, report.sources.upsampled_spoken) == (2, 2)
    assert {name: (one.rows, one.sessions, one.speakers) for name, one in report.by_split.items()} == {
        "train": (2, 1, 2),
        "validation": (2, 1, 2),
    }
    assert sum(one.tokens for one in report.by_split.values()) == report.placement.tokens
    # Both tracks have the same tone, so each is audible in the other.
    assert [one.session for one in report.bleed.sessions] == ["A1_S1_0", "B1_S1_0"]
    assert sum(one.bleed_s for one in report.bleed.sessions) == pytest.approx(report.bleed.bleed_s)
    assert verify(tmp_path / "data").holds


def test_a_report_of_an_earlier_version_verifies(data, tmp_path):
    shutil.copytree(data, tmp_path / "data")
    path = tmp_path / "data" / "report.json"
    report = json.loads(path.read_text())
    del report["sources"], report["by_split"], report["skipped_first"], report["bleed"]["sessions"]
    path.write_text(json.dumps(report))
    Report.model_validate(report)
    page = tmp_path / "data" / "report.html"
    block = page.read_text()
    start, end = block.index('"tables":['), block.index('"pages":')
    page.write_text(block[:start] + block[end:])
    card = tmp_path / "data" / "README.md"
    card.write_text("".join(line for line in card.read_text().splitlines(keepends=True) if "sample rate" not in line))
    assert verify(tmp_path / "data").problems == []


def test_names_of_pages_are_safe_and_different():
    names = {page_name(row) for row in ("a:b>c:000000", "a:b>d:000000", "a:b<d:000000", "会:话>甲:000000", "../x")}
    assert len(names) == 5
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_.") for name in names)
