"""The page with an engine that has words and voices: transcript, inspector, recording, a dead line, a reload, its looks."""

import json
import re

import numpy as np
import pytest
import soundfile as sf
from playwright.sync_api import sync_playwright

from sca.audio.decode import read_audio
from sca.config import LiveConfig
from sca.infer.engines.cascade.engine import CascadeEngine
from sca.units import HEARD_HZ, SPOKEN_HZ
from tests.helpers.browser import FLAGS, OVERFLOWING, PALE, UNLABELED, counters, find_chromium, until
from tests.helpers.cutting_proxy import cutting_proxy
from tests.helpers.live_servers import running
from tests.helpers.scripted_parts import ScriptedVoice, scripted_parts

WIDTHS = {"desktop": (1200, 900), "phone": (360, 780)}


class Seen:
    """The results of the visit."""


class Voices:
    """Opens scripted voices by name, and keeps the names."""

    def __init__(self):
        self.opened = []

    def __call__(self, name):
        self.opened.append(name)
        return ScriptedVoice()


@pytest.fixture(scope="module")
def visit(trial_data, tmp_path_factory):
    """Hold a conversation through a proxy, let the line go dead, pause the sound, and reload the page."""
    folder = tmp_path_factory.mktemp("page")
    phrase = read_audio(trial_data / "clips" / "jfk.flac", HEARD_HZ)[: int(2.3 * HEARD_HZ)]
    mic = np.concatenate([np.zeros(HEARD_HZ // 2, np.float32), phrase, np.zeros(7 * HEARD_HZ, np.float32)])
    sf.write(folder / "mic.wav", mic, HEARD_HZ, subtype="PCM_16")
    seen, voices = Seen(), Voices()
    seen.folder, seen.voices = folder, voices
    parts = scripted_parts(lambda messages: ["Hello ", "there. "], voices=("low", "high"), open_named=voices)
    engine = CascadeEngine(parts, LiveConfig(end_of_turn_ms=1200))
    flags = [*FLAGS, f"--use-file-for-fake-audio-capture={folder / 'mic.wav'}"]
    with running(engine, live__lag_policy="wait", live__hang_s=120) as server, cutting_proxy(server.url) as proxy:
        with sync_playwright() as play:
            browser = play.chromium.launch(executable_path=find_chromium(), headless=True, args=flags, timeout=120_000)
            try:
                context = browser.new_context(permissions=["microphone", "clipboard-read", "clipboard-write"])
                context.set_default_timeout(120_000)
                page = context.new_page()
                _prepare(page, proxy.url, seen)
                _converse(page, seen)
                _inspect(page, seen)
                _download(page, seen)
                _lose_line(page, proxy, seen)
                _pause(page, seen)
                _reload(page, seen)
                _look(page, seen)
            finally:
                browser.close()
        seen.sessions = server.context.sessions.started
    seen.parts = parts
    return seen


def _prepare(page, url, seen):
    seen.console = []
    page.on("console", lambda message: seen.console.append(message.text))
    page.on("pageerror", lambda error: seen.console.append(str(error)))
    page.goto(url)
    until(page, "document.querySelectorAll('#voice option').length > 1")
    seen.about = page.locator("#about").inner_text()
    page.locator("#settings-box summary").click()
    seen.choices = page.locator("#voice option").all_inner_texts()
    page.get_by_label("Voice", exact=True).select_option("high")
    page.get_by_label("Persona").fill("You are a patient teacher.")
    page.get_by_label("Unprocessed audio").check()


def _converse(page, seen):
    page.get_by_role("button", name="Start", exact=True).click()
    seen.caption = until(page, "document.querySelector('#caption').textContent")
    until(page, "document.querySelectorAll('#text .model .again:enabled').length > 0")
    until(page, "!sca.talk.playing")
    seen.text = page.locator("#text").inner_text()
    page.keyboard.press("Alt+m")
    seen.muted = page.locator("#state").inner_text(), page.get_by_role("button", name="Unmute").is_visible()
    page.keyboard.press("Alt+m")
    page.keyboard.press("Alt+p")
    page.evaluate("document.activeElement.blur()")
    states = [page.locator("#state").inner_text()]
    page.keyboard.down("Space")
    states.append(page.locator("#state").inner_text())
    page.keyboard.up("Space")
    seen.push = [*states, page.locator("#state").inner_text()]
    page.keyboard.press("Alt+p")
    page.get_by_role("button", name=re.compile("^Play again: Answer")).first.click()
    seen.replay = until(
        page, "sca.talk.replaying && [sca.talk.silent, document.querySelectorAll('[data-playing=yes]').length]"
    )
    until(page, "!sca.talk.replaying")


def _inspect(page, seen):
    page.locator("#events-box summary").click()
    page.get_by_label("Filter").fill("turn_id")
    until(page, "document.querySelectorAll('#events li').length > 0")
    seen.rows = page.locator("#events li").all_inner_texts()
    page.get_by_label("Filter").fill("")
    page.get_by_role("button", name="Copy").click()
    until(page, "document.querySelector('#event-note').textContent.includes('copied')")
    seen.copied = page.evaluate("navigator.clipboard.readText()")


def _download(page, seen):
    for name, label in (("wav", "Download recording"), ("vtt", "Download transcript")):
        with page.expect_download() as download:
            page.get_by_role("button", name=label).click()
        download.value.save_as(seen.folder / f"conversation.{name}")


def _lose_line(page, proxy, seen):
    page.evaluate("window.states = []; sca.line.addEventListener('state', ({detail}) => window.states.push(detail))")
    proxy.holes += 1
    until(page, "sca.resumed === 1")
    before = page.evaluate("sca.chunks")
    until(page, f"sca.chunks > {before} + 5")
    seen.line = page.evaluate("states"), counters(page), page.locator("#state").inner_text()


def _pause(page, seen):
    page.evaluate("sca.talk.sound.outputContext.suspend()")
    until(page, "!document.querySelector('#paused').hidden")
    seen.paused = page.locator("#state").inner_text(), page.locator("#paused").inner_text()
    page.get_by_role("button", name="Continue").click()
    until(page, "document.querySelector('#paused').hidden")
    seen.awake = page.evaluate("sca.talk.text")


def _reload(page, seen):
    seen.before = page.locator("#text li").count()
    page.reload()
    until(page, "sca.resumed === 1 && sca.chunks > 3")
    seen.after = page.locator("#text li").count(), page.locator("#state").inner_text()
    until(page, "document.querySelectorAll('#text .model .again:enabled').length > 0")  # the conversation goes on


def _look(page, seen):
    page.evaluate("document.querySelectorAll('details').forEach((details) => (details.open = true))")
    seen.overflow, seen.pale, seen.unlabeled, seen.papers = {}, {}, page.evaluate(UNLABELED), set()
    for name, (width, height) in WIDTHS.items():
        page.set_viewport_size({"width": width, "height": height})
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.wait_for_timeout(250)  # colours change gradually
            look = f"{name}-{scheme}"
            page.screenshot(path=seen.folder / f"{look}.png", full_page=True)
            scrolls = page.evaluate("document.documentElement.scrollWidth - innerWidth")
            seen.overflow[look] = [*page.evaluate(OVERFLOWING), *([scrolls] if scrolls > 0 else [])]
            seen.pale[look] = page.evaluate(PALE)
            seen.papers.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    page.get_by_role("button", name="Stop", exact=True).click()
    until(page, "document.querySelector('#start').textContent === 'Start'")
    seen.at_end = counters(page)
    seen.stored = page.evaluate("sessionStorage.length")


def test_page_says_what_one_talks_to_and_what_to_try(visit):
    assert "recognizer scripted ears language model scripted mind voice scripted voice" in " ".join(visit.about.split())
    assert "What is the capital of France?" in visit.about


def test_voice_and_persona_reach_the_engine(visit):
    assert visit.choices == ["default", "low", "high"]
    assert visit.voices.opened[0] == "high"
    assert visit.parts.language.asked[0][0].text == "You are a patient teacher."


def test_words_of_both_sides_have_captions_times_and_latency(visit):
    assert re.fullmatch(r"\d+ samples", visit.caption)
    assert re.search(r"You\n0:0\d\n▶\n+\d+ samples", visit.text)
    assert visit.text.index("You") < visit.text.index("Answer")
    assert re.search(r"Answer\n0:\d\d\n▶\n+Hello there\.\s+first sound after \d+\.\d\d s: turn ", visit.text)


def test_mute_push_to_talk_and_replay_send_silence(visit):
    assert visit.muted == ("muted", True)
    assert visit.push == ["hold to talk", "listening", "hold to talk"]
    assert visit.replay == [True, 1]


def test_inspector_filters_and_copies_without_secrets(visit):
    assert any("timing turn_id=0 stages_ms=" in row for row in visit.rows)
    assert all("turn_id" in row for row in visit.rows)
    events = [json.loads(line) for line in visit.copied.splitlines()]
    assert {"(audio)", "session", "user_text", "audio", "timing", "turn_end"} <= {event["type"] for event in events}
    assert [event["at"] for event in events] == sorted(event["at"] for event in events)
    assert {event["resume_token"] for event in events if event["type"] == "session"} == {"…"}
    assert events[0] | {"at": 0} == {
        "at": 0, "side": "sent", "type": "(reply)", "prompt": "You are a patient teacher.", "voice": "high", "resume": True,
    }  # fmt: skip


def test_recording_is_stereo_and_the_transcript_has_its_times(visit):
    both, rate_hz = sf.read(visit.folder / "conversation.wav", dtype="float32")
    assert (both.shape[1], rate_hz) == (2, SPOKEN_HZ)
    cues = re.findall(
        r"(\d\d):(\d\d):([\d.]{6}) --> (\d\d):(\d\d):([\d.]{6})\n<v (You|Answer)>(.+)",
        (visit.folder / "conversation.vtt").read_text(),
    )
    assert {cue[6] for cue in cues} == {"You", "Answer"}
    for cue in cues[:2]:
        start, end = (3600 * int(h) + 60 * int(m) + float(s) for h, m, s in (cue[:3], cue[3:6]))
        sides = np.sqrt(np.mean(both[int(start * rate_hz) : int(end * rate_hz)] ** 2, axis=0))
        own = 1 if cue[6] == "Answer" else 0
        assert sides[own] > 4 * sides[1 - own]


def test_dead_line_is_noticed_and_resumed(visit):
    states, counts, state = visit.line
    assert states[0] == "reconnecting"
    assert states[-1] == "listening"
    assert (counts["connections"], counts["resumed"], counts["error"]) == (2, 1, None)
    assert state.startswith("listening")


def test_paused_sound_is_said_and_continued(visit):
    assert visit.paused == ("paused", "The browser has paused the sound. Continue")
    assert visit.awake.startswith("listening")


def test_reload_resumes_the_session(visit):
    assert visit.sessions == 1
    assert visit.after[0] >= visit.before
    assert visit.after[1].startswith("listening")
    assert visit.stored == 0


def test_page_fits_and_is_readable_at_both_widths_and_colours(visit):
    looks = {f"{width}-{scheme}" for width in WIDTHS for scheme in ("light", "dark")}
    assert visit.overflow == {look: [] for look in looks}
    assert visit.pale == {look: [] for look in looks}
    assert len(visit.papers) == 2
    assert visit.unlabeled == []
    assert all((visit.folder / f"{look}.png").stat().st_size > 10_000 for look in looks)


def test_no_errors_in_the_console(visit):
    assert visit.console == []
