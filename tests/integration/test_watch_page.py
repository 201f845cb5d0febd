"""The page of `sca watch --serve` in Chromium: two at once, captions with their picture and speech, keys, microphone."""

import pytest
from playwright.sync_api import sync_playwright

from tests.helpers.browser import FLAGS, OVERFLOWING, PALE, UNLABELED, find_chromium
from tests.helpers.scripted_parts import ScriptedRecognizers
from tests.helpers.timeouts import TIMEOUT_S
from tests.helpers.video import make_video
from tests.helpers.watch_server import host_of, served


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("clip") / "clip.mp4", 50, fps=25)


@pytest.fixture(scope="module")
def chromium():
    with sync_playwright() as play:
        yield play.chromium.launch(executable_path=find_chromium(), args=list(FLAGS), timeout=120_000)


def until(page, expression):
    """Wait until an expression is true. The policy of the page forbids `wait_for_function`."""
    for _ in range(round(TIMEOUT_S * 20)):
        if found := page.evaluate(expression):
            return found
        page.wait_for_timeout(50)
    raise AssertionError(f"still false: {expression}; {page.inner_text('main')}")


def test_two_pages_show_pictures_captions_and_speech_in_step(chromium, clip):
    ears = ScriptedRecognizers(lambda samples: "Look right")
    address = {
        "recognition__engine": "openai",
        "recognition__base_url": "http://127.0.0.1:1/v1",
    }  # nothing is asked of it
    options = {"serve__auth_key": "geheim", "watch__stream_delay_init": 3}
    host = host_of(clip, load=lambda name, settings: ears, **options, **address)
    with served(host) as url:
        pages = [chromium.new_context(color_scheme="dark").new_page() for _ in range(2)]
        errors = []
        for page in pages:
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.on("console", lambda message: errors.append(message.text) if "Policy" in message.text else None)
            page.goto(url)
            page.fill("#key", "wrong")
            page.press("#key", "Enter")
            page.wait_for_selector("text=the key is wrong")
            page.fill("#key", "geheim")
            page.press("#key", "Enter")
            page.wait_for_selector("#key-form", state="hidden")
            page.keyboard.press("Alt+m")
        pages[0].keyboard.press("Alt+s")
        for page in pages:
            until(page, "sca.picture.drawn > 20 && sca.captions.length > 2 && sca.speech.played > 2")
            assert page.inner_text("#state") == "running"
            assert page.inner_text("#engine-name") == "scripted"
            for caption in page.evaluate("sca.captions"):
                # With its picture and not 3 s before it, at the time when the text is known.
                assert caption["pictureS"] >= caption["aboutS"] - 1.5, caption
            assert page.evaluate(UNLABELED) == page.evaluate(OVERFLOWING) == page.evaluate(PALE) == []

        first, second = pages
        first.keyboard.press("Alt+i")
        first.keyboard.type("Left <b>")
        first.keyboard.press("Control+Enter")
        second.wait_for_selector("text=in force: Left <b>")
        second.wait_for_selector("#log >> text=Left <b>")
        first.keyboard.press("Alt+v")
        until(first, "sca.take?.blocks.length > 5 && sca.speech.held")
        assert first.get_attribute("#speak", "aria-pressed") == "true"
        first.keyboard.press("Alt+v")
        second.wait_for_selector("text=in force: Look right")
        until(first, "!sca.take && !sca.speech.held && document.getElementById('instruction').value === 'Look right'")
        assert len(ears.opened[0].samples[0]) >= 5 * 320
        first.select_option("#profile", "sports")
        until(second, "document.getElementById('profile').value === 'sports'")
        first.keyboard.press("Alt+s")
        second.wait_for_selector("#state >> text=stopped")
        assert errors == []
        host.close()
        second.wait_for_selector("#state >> text=connecting again")
        for page in pages:
            page.context.close()
