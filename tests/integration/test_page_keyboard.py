"""The page without a mouse, and what it does when the browser or the system takes the screen or the sound away.

The wake lock, the visibility of the page and the states of the sound are stand-ins in a real browser.
"""

import numpy as np
import pytest
import soundfile as sf
from playwright.sync_api import sync_playwright

from sca.audio.decode import read_audio
from sca.config import LiveConfig
from sca.infer.engines.cascade.engine import CascadeEngine
from sca.units import HEARD_HZ
from tests.helpers.browser import FLAGS, find_chromium, until
from tests.helpers.live_servers import running
from tests.helpers.scripted_parts import ScriptedVoice, scripted_parts

STAND_INS = """
window.locks = [];
window.hides = false;
Object.defineProperty(navigator, "wakeLock", { value: { request: async (kind) => {
  if (window.refuses) throw new DOMException("the battery is low", "NotAllowedError");
  const lock = { kind, released: false, release: () => (lock.released = true) };
  window.locks.push(lock);
  return lock;
} } });
Object.defineProperty(document, "hidden", { get: () => window.hides });
window.turnAway = (hides) => {
  window.hides = hides;
  if (hides) for (const lock of window.locks) lock.released = true;
  document.dispatchEvent(new Event("visibilitychange"));
};
window.take = (state) => {
  const context = sca.talk.sound.outputContext;
  Object.defineProperty(context, "state", { configurable: true, value: state });
  context.resume = async () => window.giveBack();
  context.onstatechange();
};
window.giveBack = () => {
  const context = sca.talk.sound.outputContext;
  delete context.state;
  context.onstatechange();
};
"""

FOCUSED = """(() => {
  const node = document.activeElement, style = getComputedStyle(node), box = node.getBoundingClientRect();
  const ring = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
  const inside = box.width > 0 && box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth;
  return { name: node.id || node.className || node.textContent.trim(), seen: ring && inside };
})()"""

BY_ID = "((id) => document.getElementById(id))"

LOADED = [
    "skip", "theme", "start", "push", "scroll", "Voice, persona and devices", "Latency", "Events of the protocol",
    "Keyboard",
]  # fmt: skip
OPEN = [
    "skip", "theme", "start", "push", "scroll",
    "Voice, persona and devices", "voice", "prompt", "microphone", "speaker", "raw", "key",
    "Latency", "Events of the protocol", "event-filter", "event-side", "event-copy", "event-clear", "Keyboard",
]  # fmt: skip
IN_TALK = ["skip", "theme", "start", "mute", "hold", "push", "scroll", "again", "save-wav", "save-vtt"]


class Keys:
    """The keyboard of a user: Tab to a control, then a key."""

    def __init__(self, page):
        self.page, self.hidden = page, []

    def note(self):
        """Return the control with the focus."""
        found = self.page.evaluate(FOCUSED)
        if not found["seen"]:
            self.hidden.append(found["name"])
        return found["name"]

    def tab(self):
        self.page.keyboard.press("Tab")
        return self.note()

    def order(self, last):
        """Return the controls in the order of Tab, from the first up to one of them."""
        self.page.evaluate("document.querySelector('.skip').focus()")
        names = [self.note()]
        while names[-1] != last:
            names.append(self.tab())
            assert len(names) < 60, " ".join(names)
        return names

    def press(self, name, key="Enter"):
        if self.page.evaluate(FOCUSED)["name"] != name:
            self.order(name)
        self.page.keyboard.press(key)

    def focused(self):
        return self.page.evaluate(FOCUSED)["name"]


class Seen:
    """The results of the visit."""


@pytest.fixture(scope="module")
def visit(trial_data, tmp_path_factory):
    """Use every control by its keys, in one conversation."""
    folder = tmp_path_factory.mktemp("keyboard")
    phrase = read_audio(trial_data / "clips" / "jfk.flac", HEARD_HZ)[: int(2.3 * HEARD_HZ)]
    sf.write(folder / "mic.wav", np.concatenate([phrase, np.zeros(2 * HEARD_HZ, np.float32)]), HEARD_HZ)
    parts = scripted_parts(
        lambda messages: ["Hello there, and good day. "] * 30,
        voices=("low", "high"),
        open_named=lambda name: ScriptedVoice(),
    )
    engine, seen = CascadeEngine(parts, LiveConfig(end_of_turn_ms=1200)), Seen()
    flags = [*FLAGS, f"--use-file-for-fake-audio-capture={folder / 'mic.wav'}%noloop"]
    with running(engine, live__lag_policy="wait", live__hang_s=120) as server, sync_playwright() as play:
        browser = play.chromium.launch(executable_path=find_chromium(), headless=True, args=flags, timeout=120_000)
        try:
            context = browser.new_context(permissions=["microphone", "clipboard-read", "clipboard-write"])
            context.set_default_timeout(120_000)
            page = context.new_page()
            seen.console = []
            page.on("console", lambda message: seen.console.append(message.text))
            page.on("pageerror", lambda error: seen.console.append(str(error)))
            page.add_init_script(STAND_INS)
            page.goto(server.url)
            until(page, "document.querySelectorAll('#voice option').length > 1")
            keys = Keys(page)
            _look_around(page, keys, seen)
            _talk(page, keys, seen)
            _turn_away(page, seen)
            _lose_sound(page, keys, seen)
            _end(page, keys, seen)
            seen.hidden = keys.hidden
        finally:
            browser.close()
    return seen


def _look_around(page, keys, seen):
    seen.first = keys.tab()
    seen.loaded = keys.order("Keyboard")
    keys.press("skip")
    seen.skipped_to = keys.focused()
    keys.press("theme", "Space")
    seen.theme = page.evaluate("document.documentElement.dataset.theme")
    for name, key in (
        ("Voice, persona and devices", "Enter"),
        ("Latency", "Space"),
        ("Events of the protocol", "Enter"),
    ):
        keys.press(name, key)
    seen.open = keys.order("Keyboard")
    keys.press("Latency")
    seen.folds = page.evaluate("[...document.querySelectorAll('details')].map((node) => node.open)")
    keys.press("voice", "ArrowDown")
    keys.press("prompt", "x")
    keys.press("raw", "Space")
    seen.chosen = page.evaluate("[get('voice').value, get('prompt').value, get('raw').checked]".replace("get", BY_ID))


def _talk(page, keys, seen):
    keys.press("start")
    until(page, "sca.line && sca.line.talking")
    seen.after_start = keys.focused()
    until(page, "!document.querySelector('#interrupt').disabled && sca.played > 4000")
    keys.press("interrupt", "Space")
    until(page, "sca.interrupted === 1")
    keys.press("mute", "Space")
    seen.muted = page.locator("#state").inner_text()
    keys.press("mute")
    keys.press("push", "Space")
    keys.order("hold")
    seen.held = [page.locator("#state").inner_text()]
    for key in ("Space", "Enter"):
        page.keyboard.down(key)
        seen.held.append(page.locator("#state").inner_text())
        page.keyboard.up(key)
        seen.held.append(page.locator("#state").inner_text())
    until(page, "document.querySelectorAll('#text .again:enabled').length > 0")
    keys.press("again")
    until(page, "sca.talk.replaying")
    until(page, "!sca.talk.replaying")
    seen.saved = []
    for name in ("save-wav", "save-vtt"):
        with page.expect_download() as download:
            keys.press(name)
        seen.saved.append(download.value.suggested_filename)
    seen.in_talk = [name for name in dict.fromkeys(keys.order("save-vtt")) if name]
    keys.press("event-copy")
    until(page, "document.querySelector('#event-note').textContent.includes('copied')")
    keys.press("event-clear", "Space")
    seen.cleared = page.locator("#event-count").inner_text()


def _turn_away(page, seen):
    seen.locks = [page.evaluate("locks.map(({ kind, released }) => [kind, released])")]
    page.evaluate("turnAway(true)")
    seen.locks.append(page.evaluate("locks.map(({ released }) => released)"))
    page.evaluate("turnAway(false)")
    until(page, "locks.length > 1")
    seen.locks.append(page.evaluate("locks.map(({ released }) => released)"))
    page.evaluate("window.refuses = true; turnAway(true); turnAway(false)")
    before = page.evaluate("sca.chunks")
    until(page, f"sca.chunks > {before} + 2")
    page.evaluate("window.refuses = false; turnAway(false)")


def _lose_sound(page, keys, seen):
    seen.paused = []

    def note():
        shown = page.locator("#paused-text").inner_text() if page.locator("#paused").is_visible() else None
        seen.paused.append((page.locator("#state").inner_text(), shown))

    page.evaluate("take('interrupted')")
    note()
    page.evaluate("giveBack()")  # the call is over
    note()
    page.evaluate("take('interrupted'); turnAway(true)")
    note()
    page.evaluate("turnAway(false)")  # a page that is shown again resumes the sound
    until(page, "document.querySelector('#paused').hidden")
    page.evaluate("take('suspended')")
    note()
    keys.press("wake")
    until(page, "document.querySelector('#paused').hidden")
    note()


def _end(page, keys, seen):
    keys.press("start")
    until(page, "document.querySelector('#start').textContent === 'Start'")
    seen.after_stop = keys.focused()
    page.evaluate("turnAway(true); turnAway(false)")
    seen.locks.append(page.evaluate("locks.map(({ released }) => released)"))


def test_tab_reaches_every_control_in_the_order_of_the_page(visit):
    assert visit.first == "skip"
    assert visit.loaded == LOADED
    assert visit.open == OPEN
    assert [name for name in visit.in_talk if name != "interrupt"] == IN_TALK  # that is enabled while the answer plays


def test_focus_is_always_visible(visit):
    assert visit.hidden == []


def test_keys_work_on_every_control(visit):
    assert visit.skipped_to == "start"
    assert visit.theme in ("light", "dark")
    assert visit.folds == [True, False, True, False]
    assert visit.chosen == ["low", "x", True]
    assert visit.muted.startswith("muted")
    assert [text.split(" and ")[0] for text in visit.held] == [
        "hold to talk", "listening", "hold to talk", "listening", "hold to talk",
    ]  # fmt: skip
    assert visit.saved == ["conversation.wav", "conversation.vtt"]
    assert visit.cleared.startswith("0 of 0") or int(visit.cleared.split()[0]) < 100


def test_start_and_stop_keep_the_focus(visit):
    assert (visit.after_start, visit.after_stop) == ("start", "start")


def test_screen_stays_on_while_the_page_is_shown(visit):
    first, hidden, shown, ended = visit.locks
    assert first == [["screen", False]]
    assert hidden == [True]
    assert shown == [True, False]
    assert all(ended)


def test_sound_that_was_taken_is_reported_and_resumed(visit):
    call = "Another program has taken the sound, such as a call."
    assert [shown for _, shown in visit.paused] == [call, None, call, "The browser has paused the sound.", None]
    assert [state == "paused" for state, _ in visit.paused] == [True, False, True, True, False]


def test_console_has_no_errors(visit):
    assert visit.console == []
