"""`sca inspect`: what is shown is what is stored, in the terminal and on a page that draws, plays and runs its own script only."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile
from playwright.sync_api import sync_playwright
from rich.cells import cell_len

from sca.cli.shared.timeline import printable, timeline
from sca.data.duplex.build.dataset import build_duplex
from sca.data.duplex.inspect.view import levels, look_at, mixed
from sca.data.duplex.load.dataset import load
from sca.data.duplex.storage.reader import open_source
from sca.errors import InputError, UsageError
from sca.tokenizer import load_tokenizer
from tests.helpers import corpus
from tests.helpers.pulse import fit, pulse_server

# What somebody may say in a transcript: ends of the page's own blocks, marks of its template, markup that would run.
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


def sca(*words, **options):
    return subprocess.run([sys.executable, "-m", "sca", *map(str, words)], capture_output=True, text=True, **options)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("inspect")
    source = corpus.demo(root / "corpus")
    lines = {"G0071": [(0.2, 2.0, NASTY)], "G0072": [(1.5, 2.5, "so I hear")], "G0073": [(2.8, 3.6, "me too")]}
    for speaker, said in lines.items():
        corpus.write_track(source, f"Z0009_S0009_0_{speaker}", said, 4.0)
    build_duplex(source, root / "data", corpus.settings())
    return root / "data"


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer("builtin:qwen")


@pytest.fixture(scope="module")
def source(data):
    return open_source(data)


def rows_of(source):
    return [row for split in source.splits for row in source.rows(split, 0, source.count(split))]


def test_every_token_is_shown_where_the_row_has_it(source, tokenizer):
    for row in rows_of(source):
        view = look_at(source, tokenizer, row["row_id"])
        (side,) = view.sides
        assert (side.listener, side.speaker) == (row["listener"], row["speaker"]) == view.speakers
        places = [(token.chunk, token.k) for token in side.tokens]
        for segment in row["segments"]:
            ends = (segment["first_chunk"], segment["first_k"]), (segment["last_chunk"], segment["last_k"])
            first, last = (places.index(end) for end in ends)
            ids = [token.id for token in side.tokens[first : last + 1]]
            assert tokenizer.decode(ids).strip() == segment["text"]
        assert len(places) == sum(segment["n_tokens"] for segment in row["segments"])
        spoken = [word.text for word in view.words if view.speakers[word.speaker] == row["speaker"]]
        assert [word["word"] for segment in row["segments"] for word in segment["words"]] == spoken


def test_control_tokens_are_named_and_stand_where_the_row_has_them(tokenizer, tmp_path):
    said = {"G0001": [(0.2, 2.5, "a lighthouse on a hill")], "G0002": [(0.9, 1.2, "yeah"), (3.5, 4.5, "and then?")]}
    for speaker, lines in said.items():
        corpus.write_track(tmp_path / "corpus", f"A0001_S0001_0_{speaker}", lines, 5.0)
    ids = {"hold_id": 151647, "start_id": 151648, "stop_id": 151649, "backchannel_id": 151650}
    build_duplex(tmp_path / "corpus", tmp_path / "data", corpus.settings(**ids))
    source, rows = open_source(tmp_path / "data"), load(tmp_path / "data")
    found = set()
    for index, row in enumerate(rows):
        (side,) = look_at(source, tokenizer, str(index)).sides
        marks = [(token.control, token.chunk, token.k) for token in side.tokens if token.control is not None]
        assert marks == [tuple(control) for control in row.controls]
        assert all(token.text == f"‹{token.control}›" for token in side.tokens if token.control is not None)
        found |= {name for name, _, _ in marks}
    assert found == {"hold", "start", "stop", "backchannel"}
    assert '"title":"Control tokens"' in (tmp_path / "data" / "report.html").read_text()


def test_its_sound_and_loudness_are_those_of_the_row(data, source, tokenizer):
    rows = load(data)
    row, view = rows[1], look_at(source, tokenizer, "1")
    sound = np.concatenate(list(mixed(view, 24_000, 2)))
    assert len(sound) == row.spoken.size
    assert np.array_equal(sound[:, 1], row.spoken.ravel())
    loudest = np.abs(row.heard.ravel()).reshape(-1, 160).max(axis=1) * 32768
    assert np.array_equal(levels(view, view.tracks[0], 100), np.minimum(loudest.astype(int) >> 7, 255))


def test_a_session_has_all_its_speakers_sides_and_rows(source, tokenizer):
    view = look_at(source, tokenizer, "Z0009_S0009_0")
    assert view.speakers == ("G0071", "G0072", "G0073")
    assert len(view.sides) == 6
    assert {row[0] for side in view.sides for row in side.rows} == {
        row["row_id"] for row in rows_of(source) if row["session_id"] == "Z0009_S0009_0"
    }
    assert [(p.speaker, p.text) for p in view.pieces if p.speaker] == [(1, "so I hear"), (2, "me too")]
    ((start, end),) = view.overlaps
    assert 1.4 < start < end <= 2.01


@pytest.mark.parametrize(
    ("what", "says", "hint"),
    [
        ("D0001_S0001_0:G0001>G0002:000001", "no row or session", "D0001_S0001_0:G0001>G0002:000000"),
        ("D0001_S0001", "no row or session", "D0001_S0001_0"),
        ("ZZZ", "no row or session", "near it"),
        ("99", "the rows 0 to", None),
        ("-1", "no row or session", None),
    ],
)
def test_what_is_not_there_is_answered_with_what_is_near(source, tokenizer, what, says, hint):
    with pytest.raises(UsageError, match=says) as error:
        look_at(source, tokenizer, what)
    assert hint is None or hint in error.value.hint


@pytest.mark.parametrize("width", [200, 80, 40, 20, 9])
def test_the_timeline_fits_the_terminal_and_holds_every_token(source, tokenizer, width):
    view = look_at(source, tokenizer, None)
    loud = [levels(view, track, 100).tolist() for track in view.tracks]
    lines = [line.plain for line in timeline(view, loud, 100, width)]
    assert max(map(cell_len, lines)) <= max(width, 13)
    shown = sum(bool(re.match("tokens", line)) for line in lines)
    assert shown == sum(not line for line in lines), "each strip has its tokens"
    if width == 200:
        text = " ".join(lines)
        for token in view.sides[0].tokens:
            assert token.text.strip() in text


def test_nothing_said_can_steer_a_terminal():
    assert printable("a\x1b[31mb\r\n\u202ec\u2028d\x07") == "a·[31mb···c·d·"
    assert printable("grüß dich, 你好 🙂") == "grüß dich, 你好 🙂"


def test_the_command_prints_a_timeline_or_one_document(data):
    shown = sca("inspect", data, "Z0009_S0009_0:G0072>G0071:000000")
    assert shown.returncode == 0, shown.stderr
    assert "onerror=window.hacked=2" in sca("inspect", data, "Z0009_S0009_0", "--json").stdout
    document = json.loads(sca("inspect", data, "0", "--json").stdout)
    assert document["n_chunks"] * document["chunk_s"] == pytest.approx(document["words"][-1]["end_s"], abs=30)
    assert sca("inspect", data, "nothing").returncode == 2
    foreign = sca("inspect", data.parent / "corpus")
    assert foreign.returncode == 5
    assert "not a duplex data set" in foreign.stderr


def test_a_data_set_of_an_older_schema_is_refused_with_the_reason(data, tmp_path):
    shutil.copytree(data, tmp_path / "old")
    path = tmp_path / "old" / "settings.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 0}))
    with pytest.raises(InputError, match="schema version 0, this sca reads"):
        open_source(tmp_path / "old")


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
    """Open a page; at the end, nothing may have been complained about or asked of any network."""
    contexts, complaints, asked = [], [], []

    def open_page(name, width=1200, scheme="light"):
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        contexts.append(context)
        context.set_default_timeout(120_000)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(pages[name].as_uri())
        page.wait_for_selector("html[data-ready]")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
    assert all(url.startswith(("file:", "blob:", "data:")) for url in asked)


def until(page, condition):
    """`wait_for_function` would need eval, which the page's policy forbids."""
    deadline = time.monotonic() + 60
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, condition
        page.wait_for_timeout(50)


def drawn(page, lane, holds):
    """Wait until the colours between two heights of the picture are as they should be: it is drawn when the browser wants to."""
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


def test_it_draws_both_tracks_words_tokens_and_plots(opened, source, tokenizer):
    page = opened("demo")
    view = look_at(source, tokenizer, "D0001_S0001_0")
    blue, orange = "31,111,178", "180,86,15"  # the speakers' colours in inspect/page.css
    drawn(page, [30, 90], lambda found: found.get(blue, 0) > 2000)
    drawn(page, [138, 198], lambda found: found.get(orange, 0) > 500)
    other = drawn(page, [250, 280], lambda found: "232,240,248" in found)  # tokens stand on the grid
    assert page.locator("#said li").count() == len(view.pieces)
    assert page.locator("#said em", has_text="backchannel").count() == sum(p.kind == "backchannel" for p in view.pieces)
    plots = json.loads(page.locator("#data").text_content())["plots"]
    assert page.locator("#plots figure").count() == len(plots) >= 6
    assert page.locator("#plots rect").count() == sum(len(plot["values"]) for plot in plots)
    page.select_option("#side", "1")
    drawn(page, [250, 280], lambda found: found != other)  # the other side's tokens


def test_it_plays_from_any_point_by_mouse_and_keyboard(opened, source, tokenizer):
    page = opened("demo")
    view = look_at(source, tokenizer, "D0001_S0001_0")
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
    last = view.pieces[-1]
    item = page.locator("#said button").last
    page.evaluate("document.getElementById('sound').playbackRate = 0.1")  # it shall not be over before it was looked at
    item.focus()
    page.keyboard.press("Enter")
    until(page, f"{at} > {last.start_s + 0.1}")
    until(page, "document.querySelector('#said [aria-current=true]')")
    assert item.get_attribute("aria-current") == "true"
    assert page.evaluate("document.getElementById('strip').scrollLeft") > 0, "the timeline follows"


def test_what_was_said_stays_text(opened, data):
    page = opened("nasty")
    assert page.evaluate("window.hacked") is None
    said = page.locator("#said li").first.inner_text()
    for part in ("</script>", "onerror=window.hacked=2", "{{audio}}", "<!--"):
        assert part in said, "shown as it was written"
    assert page.locator("#said img").count() == 0
    assert page.evaluate("document.scripts.length") == 3, "the script and the two data blocks"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["demo", "report"])
def test_on_a_phone_nothing_sticks_out_and_both_schemes_are_readable(opened, name, scheme):
    page = opened(name, width=360, scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    ink, ground = (
        [int(n) for n in re.findall(r"\d+", page.evaluate(f"getComputedStyle(document.body).{p}"))[:3]]
        for p in ("color", "backgroundColor")
    )
    assert abs(sum(ink) - sum(ground)) > 450
    assert (sum(ground) < 200) == (scheme == "dark")


def test_the_build_writes_the_report_as_a_page_without_a_conversation(opened, data):
    page = opened("report")
    report = json.loads((data / "report.json").read_text())
    tiles = dict(zip(page.locator("dt").all_inner_texts(), page.locator("dd").all_inner_texts(), strict=True))
    assert tiles["rows"] == str(report["rows"])
    assert tiles["words in rows"] == "100.00%"
    assert tiles["bleed between tracks"] == f"{report['bleed']['bleed_s']:.1f} s"
    assert page.locator("#sound").count() == 0


def test_ten_minutes_stay_under_fifteen_megabytes(pages, source, tokenizer):
    """Size grows with length: a minute of speech must need less than a tenth of it."""
    view = look_at(source, tokenizer, "D0001_S0001_0")
    assert pages["demo"].stat().st_size < 15e6 * view.duration_s / 600


def test_the_sound_inside_is_that_of_the_tracks(pages, source, tokenizer):
    import base64

    text = pages["demo"].read_text()
    ogg = base64.b64decode(re.search(r'id="audio">([^<]+)<', text)[1])
    sound, rate_hz = soundfile.read(io.BytesIO(ogg))
    assert rate_hz == 24_000
    wanted = np.concatenate(list(mixed(look_at(source, tokenizer, "D0001_S0001_0"), 24_000, 2)))
    for channel in (0, 1):
        size = min(len(sound), len(wanted))
        assert np.corrcoef(sound[:size, channel], wanted[:size, channel])[0, 1] > 0.9


# By ear.


def test_it_is_heard_on_the_loudspeaker(data, source, tokenizer, tmp_path):
    what = "Z0009_S0009_0"
    wanted = np.concatenate(list(mixed(look_at(source, tokenizer, what), 24_000, 1)))[:, 0]
    with pulse_server(tmp_path) as pulse:
        for _ in range(6):  # a machine that stops for a tenth of a second tears the virtual devices' sound
            with pulse.listening() as listener:
                done = sca("inspect", data, what, "--play", env=pulse.env)
                assert done.returncode == 0, done.stderr
                heard = fit(wanted, listener.samples)
            if heard >= 0.9:
                break
        assert heard >= 0.9
        absent = sca("inspect", data, what, "--play", "--output-device", "no such thing", env=pulse.env)
        assert absent.returncode == 2
    gone = sca("inspect", data, what, "--play", env={**os.environ, "PULSE_SERVER": f"unix:{tmp_path}/nobody"})
    assert gone.returncode == 4
    assert "Traceback" not in gone.stderr
