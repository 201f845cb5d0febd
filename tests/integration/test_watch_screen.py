"""What a person sees and hears of `sca watch --serve`, by OCR of Chromium's screenshots and from the sound of the page."""

from playwright.sync_api import sync_playwright

from sca.config import load_settings
from sca.watch.engines.describe.ocr import load_reader
from sca.watch.engines.describe.phrases import score_sentence
from sca.watch.server.host import WatchHost
from sca.watch.server.sources import AllowedSources
from tests.helpers.browser import FLAGS, find_chromium
from tests.helpers.timeouts import TIMEOUT_S
from tests.helpers.video import Score, scoreboard
from tests.helpers.watch_screen import TAP, Screen, box_of, burnt_in_s, digits_of, screenshots, utterances
from tests.helpers.watch_server import served

CHANGES = [Score(2.0 + 3 * home, home, 0) for home in range(1, 4)]
TEAMS = ("Home", "Away")


def test_a_new_score_is_seen_and_heard_with_its_picture(tmp_path):
    clip = scoreboard(tmp_path / "match.mp4", CHANGES, seconds=14, fps=10)
    settings = load_settings(overrides={"watch.voice": "espeak"}, env={})
    host = WatchHost(settings, AllowedSources([str(clip)]), muted=False)
    with served(host) as url, sync_playwright() as play:
        browser = play.chromium.launch(executable_path=find_chromium(), args=list(FLAGS), timeout=120_000)
        page = browser.new_context(viewport={"width": 1000, "height": 800}, bypass_csp=True).new_page()
        page.add_init_script(TAP)
        page.goto(url)
        page.click("#mute")
        with screenshots(page, every=2) as shots:
            page.click("#start")
            page.locator("#caption", has_text="Score").wait_for(timeout=TIMEOUT_S * 1000)
            count = len(shots)
            while len(shots) < count + 3 or not page.evaluate("heard.length"):
                page.wait_for_timeout(100)
        places, heard = [box_of(page, "#picture"), box_of(page, "#caption")], page.evaluate("heard")
        browser.close()

    screen, seen = Screen(load_reader()), []
    for shot in shots[::-1]:
        pixels = shot.pixels()
        seen.append((burnt_in_s(screen.line(pixels, digits_of(places[0]))), screen.lines(pixels, places[1])))
        if "Score" not in seen[-1][1]:
            break
    times, texts = zip(*seen[:-1], strict=True)
    (change,) = [one for one in CHANGES if letters(score_sentence(one.home, one.away, TEAMS)) == letters(texts[-1])]
    assert len(times) >= 3
    assert list(times) == sorted(times, reverse=True)
    assert min(times) >= change.at_s, "the sentence is not there before its picture"
    assert utterances(heard)


def letters(text):
    return "".join(filter(str.isalpha, text))
