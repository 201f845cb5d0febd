"""The page in a real browser, whose microphone plays a recording, against the real server with the parrot."""

import shutil
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from playwright.sync_api import sync_playwright

from sca.audio.decode import read_audio
from sca.config import LiveConfig
from tests.helpers.live_servers import running
from tests.helpers.overheard import Overheard

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / "build" / "page"  # kept: what the page looked like when it was tested
HEARD_HZ, SAID_HZ = 16000, 24000
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--disable-quic", "--no-first-run",
)  # fmt: skip


def aligned(found, expected):
    """Correlation of `expected` with the stretch of `found` that fits it best, and where that begins."""
    size = 1 << (len(found) + len(expected)).bit_length()
    products = np.fft.irfft(np.fft.rfft(found, size) * np.conj(np.fft.rfft(expected, size)), size)
    energy = np.cumsum(np.concatenate([[0.0], found.astype(float) ** 2]))
    loud = energy[len(expected) :] - energy[: -len(expected)]
    # By fit, not by loudness: of two copies the one with a gap in it may be the louder one.
    at = int((products[: len(loud)] / np.sqrt(loud + 1e-3)).argmax())
    return float(np.corrcoef(found[at : at + len(expected)], expected)[0, 1]), at


def pieces(sound, rate_hz):
    """Its loud quarters of a second, each with its place: a machine that is busy may leave gaps between them."""
    size = rate_hz // 4
    cut = [(at, sound[at : at + size]) for at in range(0, len(sound) - size, size)]
    return [(at, piece) for at, piece in cut if np.sqrt(np.mean(piece**2)) > 0.01]


def place(found, expected, after=0):
    """Where `expected` lies in `found`, sample for sample, from the sample `after` on; None when it does not."""
    blocks = range(after, len(found) - len(expected) + 1, HEARD_HZ // 50)
    return next((at for at in blocks if np.array_equal(found[at : at + len(expected)], expected)), None)


def until(page, expression):
    """Wait for it, and return it; the page's own policy forbids the usual way, which compiles text."""
    deadline = time.monotonic() + 120
    while not (found := page.evaluate(expression)):
        state = page.evaluate("({...sca, line: null, tracks: null})")
        assert time.monotonic() < deadline, f"in vain: {expression}; {state}"
        page.wait_for_timeout(50)
    return found


def counters(page):
    return page.evaluate("({...sca, line: null, tracks: null})")


class Visit:
    """What one visit left: the page's counters, texts and tracks, and what the engine heard and said."""


@pytest.fixture(scope="module")
def chromium():
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert path, "Chromium is part of the test set-up: scripts/test --prepare"
    return path


@pytest.fixture(scope="module")
def visit(trial_data, tmp_path_factory, chromium):
    """Speech, its answer, longer speech, its answer interrupted with a key; then the connection breaks, and comes back.

    Then it breaks again, and the token is wrong; and once more, and too much was said meanwhile.

    A machine that stops for a moment leaves gaps in what the microphone plays: speech is over after a longer silence than usual,
    the answers have time before the next speech and before the key, and no chunk is dropped.
    """
    folder = tmp_path_factory.mktemp("visit")
    phrase = read_audio(trial_data / "clips" / "jfk.flac", HEARD_HZ)[: int(2.3 * HEARD_HZ)]
    silence = np.zeros(7 * HEARD_HZ, np.float32)
    mic = np.concatenate([silence[: HEARD_HZ // 2], phrase, silence, phrase, phrase, phrase, silence])
    sf.write(folder / "mic.wav", mic, HEARD_HZ, subtype="PCM_16")
    engine, seen = Overheard(LiveConfig(end_of_turn_ms=1500)), Visit()
    with running(engine, live__lag_policy="wait", live__hang_s=120) as server, sync_playwright() as play:
        flags = [*FLAGS, f"--use-file-for-fake-audio-capture={folder / 'mic.wav'}%noloop"]
        browser = play.chromium.launch(executable_path=chromium, headless=True, args=flags, timeout=120_000)
        try:
            _talk(browser, server, engine, seen, folder)
        finally:
            browser.close()
    seen.phrase, seen.engine = phrase, engine
    return seen


def _talk(browser, server, engine, seen, folder):
    context = browser.new_context(
        permissions=["microphone"], viewport={"width": 1200, "height": 900}, color_scheme="light"
    )
    context.set_default_timeout(120_000)
    page = context.new_page()
    seen.console, seen.asked = [], []
    page.on("console", lambda message: seen.console.append(message.text))
    page.on("pageerror", lambda error: seen.console.append(str(error)))
    page.on("request", lambda request: seen.asked.append(request.url))
    page.goto(f"{server.url}/")
    page.locator("summary").press("Enter")
    page.get_by_label("Unprocessed audio").check()
    until(page, "document.querySelectorAll('#microphone option').length > 1")
    seen.devices = page.locator("#microphone option").all_inner_texts()
    page.get_by_role("button", name="Start", exact=True).press("Enter")
    seen.speaking, seen.level_db = until(page, SPEAKING)
    page.screenshot(path=PICTURES / "desktop.png", full_page=True)
    while not (engine.sessions and 0 in engine.sessions[0].ended):
        page.wait_for_timeout(50)
    said = len(engine.sessions[0].said(0))
    until(page, f"sca.played >= {said} && document.querySelector('#interrupt').disabled")
    seen.first = counters(page)
    page.evaluate(COUNTING)
    until(page, f"sca.played > {said} + 7000")
    while not page.evaluate("sca.asked"):  # between two packets that a busy machine keeps apart nothing is being said
        until(page, "!document.querySelector('#interrupt').disabled")
        page.keyboard.press("Escape")
    until(page, "sca.interrupted === 1")
    until(page, "document.querySelector('#interrupt').disabled")
    seen.cut = counters(page)
    chunks_more(page, 5)
    seen.after_cut = counters(page)
    server.cut()
    until(page, "sca.connections === 2")
    chunks_more(page, 3)
    seen.reconnected = page.locator("#state").inner_text(), page.evaluate("sca.resumed")
    page.evaluate("sca.line.token = sca.line.token.toLowerCase()")
    server.cut()
    until(page, "sca.connections === 4")  # the first of the two is told that its conversation is over
    chunks_more(page, 3)
    page.evaluate("sca.line.sent += 1e6; sca.line.kept.length = 0")  # as if more had been said than is kept
    server.cut()
    until(page, "sca.connections === 6")
    chunks_more(page, 3)
    seen.begun_anew = page.locator("#state").inner_text(), page.evaluate("sca.resumed")
    seen.text = page.locator("#text").inner_text()
    seen.latency = page.locator("#latency-text").inner_text()
    page.set_viewport_size({"width": 390, "height": 844})
    seen.phone_width = page.evaluate("document.documentElement.scrollWidth")
    page.screenshot(path=PICTURES / "phone.png", full_page=True)
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="Light or dark").click()
    seen.papers = light, page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.wait_for_timeout(200)
    page.screenshot(path=PICTURES / "phone-dark.png", full_page=True)
    page.keyboard.press("Alt+s")
    until(page, "Boolean(sca.tracks)")
    seen.stopped = page.locator("#state").inner_text()
    seen.tracks = {}
    for name, label in (("heard", "Download your recording"), ("said", "Download the answer")):
        with page.expect_download() as download:
            page.get_by_role("button", name=label).click()
        download.value.save_as(folder / f"{name}.wav")
        seen.tracks[name] = sf.read(folder / f"{name}.wav", dtype="float32")
    seen.names = page.evaluate(NAMELESS)


def chunks_more(page, count):
    until(page, f"sca.chunks > {page.evaluate('sca.chunks')} + {count}")


# In one look, which nothing can come between.
SPEAKING = """(() => {
  const state = document.querySelector("#state").textContent, level = document.querySelector("#say-level").value;
  return sca.played > 12000 && state === "listening and speaking" && level > -60 ? [state, level] : null;
})()"""
COUNTING = """(() => {
  const line = sca.line, interrupt = line.interrupt;
  sca.asked = 0;
  line.interrupt = function () { sca.asked++; interrupt.call(line); };
})()"""
NAMELESS = """[...document.querySelectorAll("button, select, input:not([hidden]), textarea, meter, canvas, [role]")]
  .filter((one) => !(one.labels?.length || one.getAttribute("aria-label") || one.getAttribute("aria-labelledby")
    || one.textContent.trim() || one.getAttribute("role") === "alert")).map((one) => one.outerHTML)"""


def test_the_server_hears_what_the_microphone_plays(visit):
    heard = visit.engine.sessions[0].heard
    assert np.median([aligned(heard, piece)[0] for _, piece in pieces(visit.phrase, HEARD_HZ)]) >= 0.9


def test_the_page_plays_the_answer_of_the_parrot(visit):
    samples, rate_hz = visit.tracks["said"]
    expected = visit.engine.sessions[0].said(0)
    assert rate_hz == SAID_HZ
    assert visit.first["received"] == len(expected)
    assert visit.first["time"] > 0
    assert np.median([aligned(samples, piece)[0] for _, piece in pieces(expected, SAID_HZ)]) >= 0.9
    assert visit.level_db > -60
    assert visit.speaking == "listening and speaking"


def test_the_text_of_both_sides_appears(visit):
    assert "You: spoke for" in visit.text
    assert "Answer: (says back" in visit.text
    assert "answered after" in visit.latency
    assert "after you stopped speaking" in visit.latency


def test_interrupting_silences_the_page_and_the_engine(visit):
    first = visit.engine.sessions[0]
    assert first.interrupts == 1
    assert visit.cut["played"] - visit.first["played"] < 3 * len(visit.phrase) * SAID_HZ // HEARD_HZ
    assert first.ended == {0}
    assert visit.after_cut["played"] == visit.cut["played"]
    assert "(interrupted)" in visit.text


def test_a_broken_connection_comes_back_to_its_conversation_or_begins_another(visit):
    assert visit.reconnected == ("listening", 1)
    assert visit.begun_anew == ("listening", 1)
    assert len(visit.engine.sessions) == 3
    assert all(len(session.heard) > 0 for session in visit.engine.sessions)


def test_both_tracks_can_be_kept(visit):
    heard, rate_hz = visit.tracks["heard"]
    said, _ = visit.tracks["said"]
    assert rate_hz == HEARD_HZ
    after = 0  # one session after the other, all that the server heard
    for session in visit.engine.sessions:
        at = place(heard, session.heard, after)
        assert at is not None
        after = at + -(-len(session.heard) // 320) * 320
    early = heard[: 9 * HEARD_HZ]  # the phrase is said again later
    fits = [(*aligned(early, piece), at) for at, piece in pieces(visit.phrase, HEARD_HZ)]
    assert np.median([fit for fit, _, _ in fits]) >= 0.9
    # On one clock: the answer begins after the phrase is over.
    begin = np.median([found - at for _, found, at in fits])
    answer = pieces(visit.engine.sessions[0].said(0), SAID_HZ)
    answered = np.median([aligned(said[: 12 * SAID_HZ], piece)[1] - at for at, piece in answer])
    assert answered / SAID_HZ > (begin + len(visit.phrase)) / HEARD_HZ
    assert visit.stopped == "stopped"


def test_nothing_complains_and_nothing_comes_from_elsewhere(visit):
    assert visit.console == []
    assert {url.split("/")[2] for url in visit.asked if not url.startswith(("data:", "blob:"))} == {
        visit.asked[0].split("/")[2]
    }


def test_it_fits_a_phone_has_two_themes_and_every_control_a_name(visit):
    assert visit.phone_width == 390
    assert visit.papers[0] != visit.papers[1]
    assert visit.names == []
    assert visit.devices[0] == "default"
    assert len(visit.devices) > 1


def test_the_page_may_load_only_its_own_files_and_needs_no_key():
    with running(Overheard(), auth_key="secret") as server:
        for path, kind in (("/", "text/html"), ("/page/page.js", "text/javascript"), ("/page/page.css", "text/css")):
            with urllib.request.urlopen(f"{server.url}{path}", timeout=60) as answer:
                headers, body = answer.headers, answer.read()
            assert headers["Content-Type"].startswith(kind)
            assert headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'")
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert b"http://" not in body
            assert b"https://" not in body
        again = urllib.request.Request(f"{server.url}{path}", headers={"If-None-Match": headers["ETag"]})
        with pytest.raises(urllib.error.HTTPError, match="304"):
            urllib.request.urlopen(again, timeout=60)


def test_the_page_asks_for_the_key_and_keeps_it_out_of_every_address(chromium):
    key, engine = "клю4 & s3cret?", Overheard()
    with running(engine, auth_key=key) as server, sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, headless=True, args=FLAGS, timeout=120_000)
        try:
            context = browser.new_context(permissions=["microphone"])
            context.set_default_timeout(120_000)
            page = context.new_page()
            asked = []
            page.on("request", lambda request: asked.append(request.url))
            page.on("websocket", lambda socket: asked.append(socket.url))
            page.goto(f"{server.url}/")
            start, field = page.get_by_role("button", name="Start", exact=True), page.get_by_label("Server key")
            start.click()
            until(page, "document.querySelector('#error').textContent === 'the server requires a key'")
            assert field.is_visible()
            assert page.evaluate("document.activeElement.id") == "key"
            page.keyboard.type("wrong")
            start.click()
            until(page, "document.querySelector('#error').textContent === 'the key is wrong'")
            assert len(server.server.sessions) == 0
            page.keyboard.type(key)  # in place of what was selected
            start.click()
            until(page, "sca.chunks > 1")
            assert page.locator("#error").is_hidden()
            assert page.url == f"{server.url}/"
        finally:
            browser.close()
        assert len(engine.sessions) == 1
    assert any(url.startswith("ws:") for url in asked)
    assert not any("s3cret" in url or "key" in url.rpartition("/")[2] for url in asked)
