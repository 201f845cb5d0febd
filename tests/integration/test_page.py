"""The page in a real browser with a recording as the microphone, and a real server with the parrot."""

import re
import urllib.error
import urllib.request

import numpy as np
import pytest
import soundfile as sf
from playwright.sync_api import sync_playwright

from sca.audio.decode import read_audio
from sca.audio.resample import resample
from sca.config import LiveConfig
from tests.helpers.browser import FLAGS, UNLABELED, counters, find_chromium, until
from tests.helpers.live_servers import running
from tests.helpers.recording_parrot import RecordingParrot

HEARD_HZ, SPOKEN_HZ = 16000, 24000


def aligned(found, expected):
    """Return the correlation of `expected` with the best matching part of `found`, and the start of that part."""
    size = 1 << (len(found) + len(expected)).bit_length()
    products = np.fft.irfft(np.fft.rfft(found, size) * np.conj(np.fft.rfft(expected, size)), size)
    energy = np.cumsum(np.concatenate([[0.0], found.astype(float) ** 2]))
    loud = energy[len(expected) :] - energy[: -len(expected)]
    # Normalized by energy: of two copies, the one with a gap may be the louder one.
    at = int((products[: len(loud)] / np.sqrt(loud + 1e-3)).argmax())
    return float(np.corrcoef(found[at : at + len(expected)], expected)[0, 1]), at


def pieces(sound, rate_hz):
    """Return the loud pieces of 0.25 s with their positions. On a busy machine, gaps between them are possible."""
    size = rate_hz // 4
    cut = [(at, sound[at : at + size]) for at in range(0, len(sound) - size, size)]
    return [(at, piece) for at, piece in cut if np.sqrt(np.mean(piece**2)) > 0.01]


class Visit:
    """The results of one visit of the page: counters, texts and recordings, and the engine."""


@pytest.fixture(scope="module")
def chromium():
    return find_chromium()


@pytest.fixture(scope="module")
def visit(trial_data, tmp_path_factory, chromium):
    """Run one visit: speech and its answer, longer speech and an interrupted answer, three broken connections.

    After the first the session is resumed; after the second the token is wrong; after the third too many messages are
    lost.

    On a busy machine the fake microphone has gaps. So the turn ends after a longer silence than usual, the answers have
    time before the next speech and before the key press, and no chunk is dropped.
    """
    folder = tmp_path_factory.mktemp("visit")
    phrase = read_audio(trial_data / "clips" / "jfk.flac", HEARD_HZ)[: int(2.3 * HEARD_HZ)]
    silence = np.zeros(7 * HEARD_HZ, np.float32)
    mic = np.concatenate([silence[: HEARD_HZ // 2], phrase, silence, phrase, phrase, phrase, silence])
    sf.write(folder / "mic.wav", mic, HEARD_HZ, subtype="PCM_16")
    engine, seen = RecordingParrot(LiveConfig(end_of_turn_ms=1500)), Visit()
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
    seen.console, seen.requests = [], []
    page.on("console", lambda message: seen.console.append(message.text))
    page.on("pageerror", lambda error: seen.console.append(str(error)))
    page.on("request", lambda request: seen.requests.append(request.url))
    page.goto(f"{server.url}/")
    page.locator("#settings-box summary").press("Enter")
    page.get_by_label("Unprocessed audio").check()
    until(page, "document.querySelectorAll('#microphone option').length > 1")
    seen.devices = page.locator("#microphone option").all_inner_texts()
    page.get_by_role("button", name="Start", exact=True).press("Enter")
    seen.speaking, seen.level_db = until(page, SPEAKING)
    page.screenshot(path=folder / "desktop.png", full_page=True)
    while not (engine.sessions and 0 in engine.sessions[0].ended):
        page.wait_for_timeout(50)
    spoken = len(engine.sessions[0].spoken(0))
    until(page, f"sca.played >= {spoken} && document.querySelector('#interrupt').disabled")
    seen.first = counters(page)
    page.evaluate(COUNTING)
    until(page, f"sca.played > {spoken} + 7000")
    while not page.evaluate("sca.interrupts"):  # between two delayed packets the page is not speaking
        until(page, "!document.querySelector('#interrupt').disabled")
        page.keyboard.press("Escape")
    until(page, "sca.interrupted === 1")
    until(page, "document.querySelector('#interrupt').disabled")
    seen.cut = counters(page)
    chunks_more(page, 5)
    seen.after_cut = counters(page)
    server.abort_connections()
    until(page, "sca.connections === 2")
    chunks_more(page, 3)
    seen.reconnected = page.locator("#state").inner_text(), page.evaluate("sca.resumed")
    page.evaluate("sca.line.token = sca.line.token.toLowerCase()")
    server.abort_connections()
    until(page, "sca.connections === 4")  # the first of the two is rejected, because its session has ended
    chunks_more(page, 3)
    page.evaluate("sca.line.sent += 1e6; sca.line.kept.length = 0")  # as if messages had been dropped
    server.abort_connections()
    until(page, "sca.connections === 6")
    chunks_more(page, 3)
    seen.new_session = page.locator("#state").inner_text(), page.evaluate("sca.resumed")
    seen.text = page.locator("#text").inner_text()
    seen.latency = page.locator("#latency-text").text_content()
    page.set_viewport_size({"width": 390, "height": 844})
    seen.phone_width = page.evaluate("document.documentElement.scrollWidth")
    page.screenshot(path=folder / "phone.png", full_page=True)
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="Light or dark").click()
    seen.papers = light, page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.wait_for_timeout(200)
    page.screenshot(path=folder / "phone-dark.png", full_page=True)
    page.keyboard.press("Alt+s")
    until(page, "Boolean(sca.recording)")
    seen.stopped = page.locator("#state").inner_text()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download recording").click()
    download.value.save_as(folder / "both.wav")
    seen.both, seen.rate_hz = sf.read(folder / "both.wav", dtype="float32")
    seen.names = page.evaluate(UNLABELED)


def chunks_more(page, count):
    until(page, f"sca.chunks > {page.evaluate('sca.chunks')} + {count}")


# In one evaluation, so that the state cannot change in between.
SPEAKING = """(() => {
  const state = document.querySelector("#state").textContent, level = document.querySelector("#say-level").value;
  return sca.played > 12000 && state === "listening and speaking" && level > -60 ? [state, level] : null;
})()"""
COUNTING = """(() => {
  const line = sca.line, interrupt = line.interrupt;
  sca.interrupts = 0;
  line.interrupt = function () { sca.interrupts++; interrupt.call(line); };
})()"""


def test_server_receives_the_microphone(visit):
    heard = visit.engine.sessions[0].heard
    assert np.median([aligned(heard, piece)[0] for _, piece in pieces(visit.phrase, HEARD_HZ)]) >= 0.9


def test_page_plays_the_answer(visit):
    samples = visit.both[:, 1]
    expected = visit.engine.sessions[0].spoken(0)
    assert visit.rate_hz == SPOKEN_HZ
    assert visit.first["received"] == len(expected)
    assert visit.first["time"] > 0
    assert np.median([aligned(samples, piece)[0] for _, piece in pieces(expected, SPOKEN_HZ)]) >= 0.9
    assert visit.level_db > -60
    assert visit.speaking == "listening and speaking"


def test_page_shows_the_transcript_of_both_sides(visit):
    assert re.search(r"You\n0:0\d\n▶\n+spoke for", visit.text)
    assert re.search(r"Answer\n0:0\d\n▶\n+\(says back", visit.text)
    assert "answered after" in visit.latency
    assert "after you stopped speaking" in visit.latency


def test_interrupt_silences_the_page_and_the_engine(visit):
    first = visit.engine.sessions[0]
    assert first.interrupts == 1
    assert visit.cut["played"] - visit.first["played"] < 3 * len(visit.phrase) * SPOKEN_HZ // HEARD_HZ
    assert first.ended == {0}
    assert visit.after_cut["played"] == visit.cut["played"]
    assert "(interrupted)" in visit.text


def test_broken_connection_resumes_or_starts_a_new_session(visit):
    assert visit.reconnected == ("listening", 1)
    assert visit.new_session == ("listening", 1)
    assert len(visit.engine.sessions) == 3
    assert all(len(session.heard) > 0 for session in visit.engine.sessions)


def test_recording_has_both_sides(visit):
    heard, spoken = resample(visit.both[:, 0], SPOKEN_HZ, HEARD_HZ), visit.both[:, 1]
    for session in visit.engine.sessions:  # all audio that the server received
        loud = [piece for _, piece in pieces(session.heard, HEARD_HZ)]
        assert all(aligned(heard, piece)[0] >= 0.99 for piece in loud)
    early = heard[: 9 * HEARD_HZ]  # the phrase is repeated later
    fits = [(*aligned(early, piece), at) for at, piece in pieces(visit.phrase, HEARD_HZ)]
    assert np.median([fit for fit, _, _ in fits]) >= 0.9
    # The recordings have one clock: the answer starts after the phrase.
    begin = np.median([found - at for _, found, at in fits])
    answer = pieces(visit.engine.sessions[0].spoken(0), SPOKEN_HZ)
    answered = np.median([aligned(spoken[: 12 * SPOKEN_HZ], piece)[1] - at for at, piece in answer])
    assert answered / SPOKEN_HZ > (begin + len(visit.phrase)) / HEARD_HZ
    assert visit.stopped == "stopped"


def test_no_console_errors_and_no_foreign_requests(visit):
    assert visit.console == []
    assert {url.split("/")[2] for url in visit.requests if not url.startswith(("data:", "blob:"))} == {
        visit.requests[0].split("/")[2]
    }


def test_page_fits_a_phone_has_themes_and_labels(visit):
    assert visit.phone_width == 390
    assert visit.papers[0] != visit.papers[1]
    assert visit.names == []
    assert visit.devices[0] == "default"
    assert len(visit.devices) > 1


def test_page_loads_only_its_own_files_and_needs_no_key():
    with running(RecordingParrot(), auth_key="secret") as server:
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


def test_page_requests_the_key_and_keeps_it_out_of_urls(chromium):
    key, engine = "клю4 & s3cret?", RecordingParrot()
    with running(engine, auth_key=key) as server, sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, headless=True, args=FLAGS, timeout=120_000)
        try:
            context = browser.new_context(permissions=["microphone"])
            context.set_default_timeout(120_000)
            page = context.new_page()
            requests = []
            page.on("request", lambda request: requests.append(request.url))
            page.on("websocket", lambda socket: requests.append(socket.url))
            page.goto(f"{server.url}/")
            start, field = page.get_by_role("button", name="Start", exact=True), page.get_by_label("Server key")
            start.click()
            until(page, "document.querySelector('#error').textContent === 'the server requires a key'")
            assert field.is_visible()
            assert page.evaluate("document.activeElement.id") == "key"
            page.keyboard.type("wrong")
            start.click()
            until(page, "document.querySelector('#error').textContent === 'the key is wrong'")
            assert len(server.context.sessions) == 0
            page.keyboard.type(key)  # replaces the selected text
            start.click()
            until(page, "sca.chunks > 1")
            assert page.locator("#error").is_hidden()
            assert page.url == f"{server.url}/"
        finally:
            browser.close()
        assert len(engine.sessions) == 1
    assert any(url.startswith("ws:") for url in requests)
    assert not any("s3cret" in url or "key" in url.rpartition("/")[2] for url in requests)
