"""`sca inspect`: the terminal and the page show what is stored, and the page runs no script except its own."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
import unicodedata
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from playwright.sync_api import sync_playwright
from rich.cells import cell_len

from sca.cli.shared.completion import complete_rows
from sca.cli.shared.timeline import timeline
from sca.data.duplex.build.dataset import build_duplex
from sca.data.duplex.inspect.audio import mix_audio, peak_levels
from sca.data.duplex.inspect.html import write_page
from sca.data.duplex.inspect.view import open_view
from sca.data.duplex.load.dataset import load
from sca.data.duplex.storage.reader import open_dataset
from sca.errors import InputError, UsageError
from sca.tokenizer import load_tokenizer
from tests.helpers import corpus
from tests.helpers.command import sca
from tests.helpers.pulse import fit, pulse_server

# Text of a transcript that could end a block of the page, be a mark of its template, or run as markup.
NASTY = '</script><script>window.hacked=1</script> <img src=x onerror=window.hacked=2> {{audio}} <!-- & "quoted"'
CHROMIUM = [
    "--no-sandbox",
    "--disable-gpu",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


def play(*words, **options):
    """Run a command in a process of its own, with the environment of a sound server."""
    return subprocess.run([sys.executable, "-m", "sca", *map(str, words)], capture_output=True, text=True, **options)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("inspect")
    source = corpus.demo(root / "corpus")
    lines = {"G0071": [(0.2, 2.0, NASTY)], "G0072": [(1.5, 2.5, "so I hear")], "G0073": [(2.8, 3.6, "me too")]}
    for speaker, track_lines in lines.items():
        corpus.write_track(source, f"Z0009_S0009_0_{speaker}", track_lines, 4.0)
    build_duplex(source, root / "data", corpus.settings(tags="keep"))
    return root / "data"


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer("builtin:qwen")


@pytest.fixture(scope="module")
def source(data):
    return open_dataset(data)


def rows_of(source):
    return [row for split in source.splits for row in source.rows(split, 0, source.count(split))]


def test_shows_every_token_at_its_place(source, tokenizer):
    for row in rows_of(source):
        view = open_view(source, tokenizer, row["row_id"])
        (side,) = view.sides
        assert (side.listener, side.speaker) == (row["listener"], row["speaker"])
        *heard, speaker = view.speakers
        assert ("+".join(heard), speaker) == (row["listener"], row["speaker"])
        places = [(token.chunk, token.k) for token in side.tokens]
        for segment in row["segments"]:
            ends = (segment["first_chunk"], segment["first_k"]), (segment["last_chunk"], segment["last_k"])
            first, last = (places.index(end) for end in ends)
            ids = [token.id for token in side.tokens[first : last + 1]]
            assert tokenizer.decode(ids).strip() == segment["text"]
        assert len(places) == sum(segment["n_tokens"] for segment in row["segments"])
        spoken = [word.text for word in view.words if view.speakers[word.speaker] == row["speaker"]]
        assert [word["word"] for segment in row["segments"] for word in segment["words"]] == spoken


def test_shows_control_tokens_by_name_at_their_place(tokenizer, tmp_path):
    lines_of = {"G0001": [(0.2, 2.5, "a lighthouse on a hill")], "G0002": [(0.9, 1.2, "yeah"), (3.5, 4.5, "and then?")]}
    for speaker, lines in lines_of.items():
        corpus.write_track(tmp_path / "corpus", f"A0001_S0001_0_{speaker}", lines, 5.0)
    ids = {"hold_id": 151647, "start_id": 151648, "stop_id": 151649, "backchannel_id": 151650}
    build_duplex(tmp_path / "corpus", tmp_path / "data", corpus.settings(**ids))
    source, rows = open_dataset(tmp_path / "data"), load(tmp_path / "data")
    found = set()
    for index, row in enumerate(rows):
        (side,) = open_view(source, tokenizer, str(index)).sides
        marks = [(token.control, token.chunk, token.k) for token in side.tokens if token.control is not None]
        assert marks == [tuple(control) for control in row.controls]
        assert all(token.text == f"‹{token.control}›" for token in side.tokens if token.control is not None)
        found |= {name for name, _, _ in marks}
    assert found == {"hold", "start", "stop", "backchannel"}
    assert '"title":"Control tokens"' in (tmp_path / "data" / "report.html").read_text()


def test_audio_and_levels_equal_those_of_the_row(data, source, tokenizer):
    rows = load(data)
    row, view = rows[1], open_view(source, tokenizer, "1")
    sound = np.concatenate(list(mix_audio(view, 24_000, 2)))
    assert len(sound) == row.spoken.size
    assert np.array_equal(sound[:, 1], row.spoken.ravel())
    loudest = np.abs(row.heard.ravel()).reshape(-1, 160).max(axis=1) * 32768
    assert np.array_equal(peak_levels(view, view.tracks[0], 100), np.minimum(loudest.astype(int) >> 7, 255))


def test_session_has_all_speakers_sides_and_rows(source, tokenizer):
    view = open_view(source, tokenizer, "Z0009_S0009_0")
    assert view.speakers == ("G0071", "G0072", "G0073")
    assert len(view.sides) == 3
    assert {row[0] for side in view.sides for row in side.rows} == {
        row["row_id"] for row in rows_of(source) if row["session_id"] == "Z0009_S0009_0"
    }
    assert [(p.speaker, p.text) for p in view.segments if p.speaker] == [(1, "so I hear"), (2, "me too")]
    ((start, end),) = view.overlaps
    assert 1.4 < start < end <= 2.01


@pytest.mark.parametrize(
    ("target", "message", "hint"),
    [
        ("D0001_S0001_0:G0001>G0002:000001", "no row or session", "D0001_S0001_0:G0001..G0002:000000"),
        ("D0001_S0001_0:G0001..G0002:000001", "no row or session", "D0001_S0001_0:G0001..G0002:000000"),
        ("D0001_S0001", "no row or session", "D0001_S0001_0"),
        ("ZZZ", "no row or session", "similar"),
        ("99", "the rows 0 to", None),
        ("-1", "no row or session", None),
    ],
)
def test_suggests_similar_names(source, tokenizer, target, message, hint):
    with pytest.raises(UsageError, match=message) as error:
        open_view(source, tokenizer, target)
    assert hint is None or hint in error.value.hint


@pytest.mark.parametrize("width", [200, 80, 40, 20, 9])
def test_timeline_fits_the_terminal_and_has_every_token(source, tokenizer, width):
    view = open_view(source, tokenizer, None)
    loud = [peak_levels(view, track, 100).tolist() for track in view.tracks]
    lines = [line.plain for line in timeline(view, loud, 100, width)]
    assert max(map(cell_len, lines)) <= max(width, 13)
    shown = sum(bool(re.match("tokens", line)) for line in lines)
    assert shown == sum(not line for line in lines), "each strip has its tokens"
    if width == 200:
        text = " ".join(lines)
        for token in view.sides[0].tokens:
            assert token.text.strip() in text


def test_prints_a_timeline_or_a_json_document(data):
    shown = sca("inspect", data, "Z0009_S0009_0:G0072+G0073>G0071:000000")
    assert shown.returncode == 0, shown.stderr
    typed = "Z0009_S0009_0:G0072+G0073..G0071:000000"
    assert shown.stdout.startswith(f"{typed}: ")
    assert sca("inspect", data, typed).stdout == shown.stdout
    assert "onerror=window.hacked=2" in sca("inspect", data, "Z0009_S0009_0", "--json").stdout
    document = json.loads(sca("inspect", data, "0", "--json").stdout)
    assert document["n_chunks"] * document["chunk_s"] == pytest.approx(document["words"][-1]["end_s"], abs=30)
    assert sca("inspect", data, "nothing").returncode == 2
    foreign = sca("inspect", data.parent / "corpus")
    assert foreign.returncode == 5
    assert "not a duplex data set: it has no settings.json; found 5 .txt files" in foreign.stderr


def test_rejects_data_set_of_an_older_schema(data, tmp_path):
    shutil.copytree(data, tmp_path / "old")
    path = tmp_path / "old" / "settings.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 0}))
    with pytest.raises(InputError, match="schema version 0, this sca reads"):
        open_dataset(tmp_path / "old")


# The page.


@pytest.fixture(scope="module")
def pages(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    made = {}
    for name, what in (("demo", "D0001_S0001_0"), ("nasty", "Z0009_S0009_0")):
        made[name] = folder / f"{name}.html"
        done = sca("inspect", data, what, "--html", made[name], "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["bytes"] == made[name].stat().st_size
    made["report"] = data / "report.html"
    return made


@pytest.fixture(scope="module")
def browser():
    path = shutil.which("chromium")
    assert path, "chromium is missing: apt-get install chromium (scripts/test does)"
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=path, headless=True, args=CHROMIUM, timeout=120_000)
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser, pages):
    """Open a page. At the end there must be no console message and no network request."""
    contexts, messages, requests = [], [], []

    def open_page(name, width=1200, scheme="light"):
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        contexts.append(context)
        context.set_default_timeout(120_000)
        page = context.new_page()
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(pages[name].as_uri())
        page.wait_for_selector("html[data-ready]")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert messages == []
    assert all(url.startswith(("file:", "blob:", "data:")) for url in requests)


def until(page, condition):
    """Wait for a condition. `wait_for_function` needs eval, which the page's policy forbids."""
    deadline = time.monotonic() + 60
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, condition
        page.wait_for_timeout(50)


def drawn(page, lane, holds):
    """Wait until the colours between two heights of the canvas satisfy a condition, and return them."""
    deadline = time.monotonic() + 60
    while not holds(found := page.evaluate(LANE_COLOURS, lane)):
        assert time.monotonic() < deadline, found
        page.wait_for_timeout(50)
    return found


LANE_COLOURS = """([top, bottom]) => {
  const canvas = document.getElementById("canvas"), ratio = devicePixelRatio, seen = new Map();
  const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(canvas, 0, 0);
  const pixels = copy.getImageData(0, top * ratio, canvas.width, (bottom - top) * ratio).data;
  for (let i = 0; i < pixels.length; i += 4) {
    const colour = `${pixels[i]},${pixels[i + 1]},${pixels[i + 2]}`;
    seen.set(colour, (seen.get(colour) || 0) + 1);
  }
  return Object.fromEntries([...seen].filter(([, count]) => count > 50));
}"""


def test_page_draws_tracks_words_tokens_and_plots(opened, source, tokenizer):
    page = opened("demo")
    view = open_view(source, tokenizer, "D0001_S0001_0")
    blue, orange = "31,111,178", "180,86,15"  # the speakers' colours in inspect/page.css
    drawn(page, [30, 90], lambda found: found.get(blue, 0) > 2000)
    drawn(page, [138, 198], lambda found: found.get(orange, 0) > 500)
    other = drawn(page, [250, 280], lambda found: "232,240,248" in found)  # tokens on the grid
    assert page.locator("#segments li").count() == len(view.segments)
    assert page.locator("#segments em", has_text="backchannel").count() == sum(
        p.kind == "backchannel" for p in view.segments
    )
    plots = json.loads(page.locator("#data").text_content())["plots"]
    assert page.locator("#plots figure").count() == len(plots) >= 6
    assert page.locator("#plots rect").count() == sum(len(plot["values"]) for plot in plots)
    page.select_option("#side", "1")
    drawn(page, [250, 280], lambda found: found != other)  # tokens of the other side


def test_page_plays_from_any_point(opened, source, tokenizer):
    page = opened("demo")
    view = open_view(source, tokenizer, "D0001_S0001_0")
    at = "document.getElementById('sound').currentTime"
    until(page, "document.getElementById('sound').readyState >= 2")
    assert page.evaluate("document.getElementById('sound').duration") == pytest.approx(view.duration_s, abs=0.05)
    box = page.locator("#canvas").bounding_box()
    page.mouse.click(box["x"] + 600, box["y"] + 60)
    assert page.evaluate(at) == pytest.approx(4.0, abs=0.05), "600 pixels at 150 a second"
    page.keyboard.press(" ")
    until(page, f"{at} > 4.3")
    assert page.locator("#play").inner_text() == "Pause"
    page.keyboard.press(" ")
    assert page.evaluate("document.getElementById('sound').paused")
    before = page.evaluate(at)
    page.keyboard.press("ArrowRight")
    assert page.evaluate(at) == pytest.approx(before + 2, abs=0.05)
    last = view.segments[-1]
    item = page.locator("#segments button").last
    page.evaluate(
        "document.getElementById('sound').playbackRate = 0.1"
    )  # slow, so that it is still playing when it is examined
    item.focus()
    page.keyboard.press("Enter")
    until(page, f"{at} > {last.start_s + 0.1}")
    until(page, "document.querySelector('#segments [aria-current=true]')")
    assert item.get_attribute("aria-current") == "true"
    assert page.evaluate("document.getElementById('strip').scrollLeft") > 0, "the timeline follows"


def test_page_shows_transcripts_as_text(opened, data):
    page = opened("nasty")
    assert page.evaluate("window.hacked") is None
    text = page.locator("#segments li").first.inner_text()
    for part in ("</script>", "onerror=window.hacked=2", "{{audio}}", "<!--"):
        assert part in text, "shown as written"
    assert page.locator("#segments img").count() == 0
    assert page.locator("#segments .text").first.get_attribute("dir") == "auto"
    assert page.evaluate("document.scripts.length") == 3, "the script and the two data blocks"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["demo", "report"])
def test_page_fits_a_phone_and_is_readable_in_both_schemes(opened, name, scheme):
    page = opened(name, width=360, scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    ink, ground = (
        [int(n) for n in re.findall(r"\d+", page.evaluate(f"getComputedStyle(document.body).{p}"))[:3]]
        for p in ("color", "backgroundColor")
    )
    assert abs(sum(ink) - sum(ground)) > 450
    assert (sum(ground) < 200) == (scheme == "dark")


def test_build_writes_the_report_as_a_page(opened, data):
    page = opened("report")
    report = json.loads((data / "report.json").read_text())
    tiles = dict(zip(page.locator("dt").all_inner_texts(), page.locator("dd").all_inner_texts(), strict=True))
    assert tiles["rows"] == str(report["rows"])
    assert tiles["words in rows"] == "100.00%"
    assert tiles["cross-talk between tracks"] == f"{report['bleed']['bleed_s']:.1f} s"
    assert page.locator("#sound").count() == 0


def test_page_of_ten_minutes_is_under_fifteen_megabytes(pages, source, tokenizer):
    """Size grows with length, so the limit is scaled to the length of the view."""
    view = open_view(source, tokenizer, "D0001_S0001_0")
    assert pages["demo"].stat().st_size < 15e6 * view.duration_s / 600


def test_page_has_the_audio_of_the_tracks(pages, source, tokenizer):
    import base64

    text = pages["demo"].read_text()
    ogg = base64.b64decode(re.search(r'id="audio">([^<]+)<', text)[1])
    sound, rate_hz = soundfile.read(io.BytesIO(ogg))
    assert rate_hz == 24_000
    wanted = np.concatenate(list(mix_audio(open_view(source, tokenizer, "D0001_S0001_0"), 24_000, 2)))
    for channel in (0, 1):
        size = min(len(sound), len(wanted))
        assert np.corrcoef(sound[:size, channel], wanted[:size, channel])[0, 1] > 0.9


# Playback.


def test_plays_on_the_loudspeaker(data, source, tokenizer, tmp_path, report_retry):
    what = "Z0009_S0009_0"
    wanted = np.concatenate(list(mix_audio(open_view(source, tokenizer, what), 24_000, 1)))[:, 0]
    with pulse_server(tmp_path) as pulse:
        for _ in range(6):  # if the machine pauses for a tenth of a second, the virtual devices lose audio
            with pulse.listening() as listener:
                done = play("inspect", data, what, "--play", env=pulse.env)
                assert done.returncode == 0, done.stderr
                heard = fit(wanted, listener.samples)
            if heard >= 0.9:
                break
            report_retry(f"the correlation of the audio was {heard:.3f}")
        assert heard >= 0.9
        absent = play("inspect", data, what, "--play", "--output-device", "no such thing", env=pulse.env)
        assert absent.returncode == 2
    no_server = play("inspect", data, what, "--play", env={**os.environ, "PULSE_SERVER": f"unix:{tmp_path}/no-server"})
    assert no_server.returncode == 4
    assert "Traceback" not in no_server.stderr


def test_rows_are_completed_as_they_are_typed(data):
    def offered(typed, folder=data):
        return complete_rows(SimpleNamespace(params={"data": str(folder)}), typed)

    assert offered("Z0009_S0009_0:G0072+") == ["Z0009_S0009_0:G0072+G0073..G0071:000000"]
    assert "D0001_S0001_0" in offered("D")
    assert offered("D", data.parent) == []


def test_bash_completes_a_row_after_its_colon(data, tmp_path):
    """The script as installed, with the words as bash divides them, and as it does without the colon in COMP_WORDBREAKS."""
    (tmp_path / "sca").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m sca "$@"\n')
    (tmp_path / "sca").chmod(0o755)
    program = f"""PATH={tmp_path}:$PATH
eval "$(_SCA_COMPLETE=source_bash sca)"
COMP_WORDS=(sca inspect '{data}' D0001_S0001_0 : G0002); COMP_CWORD=5; _sca_completion sca; echo "${{COMPREPLY[*]}}"
COMP_WORDS=(sca inspect '{data}' D0001_S0001_0:G0002); COMP_CWORD=3; _sca_completion sca; echo "${{COMPREPLY[*]}}"
"""
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.stderr == ""
    rest, whole = (line.split(" ") for line in done.stdout.splitlines())
    assert rest
    assert all(re.fullmatch(r"G0002\.\.G0001:\d{6}", row) for row in rest)
    assert whole == [f"D0001_S0001_0:{row}" for row in rest]


def test_a_page_has_no_control_characters_of_names(data, tmp_path):
    source = open_dataset(data)
    view = open_view(source, load_tokenizer("builtin:qwen"), None)
    view = replace(view, session_id="a\x1b[2J\x9b\u202eb", speakers=("x\x7f\x1b]0;t\x07", "<b>"))
    page = tmp_path / "page.html"
    write_page(page, source.report, (), view)
    text = page.read_text(encoding="utf-8")
    assert [c for c in text if unicodedata.category(c) in ("Cc", "Cf") and c not in "\n\t"] == []
    assert "a\\x1b[2J\\x9b\\u202eb" in text
