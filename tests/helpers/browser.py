"""Chromium for tests of pages: its flags, waiting for what a page computes, and checks of its layout and colours."""

import shutil
import time

FLAGS = (
    "--no-sandbox", "--disable-gpu", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--disable-quic", "--no-first-run",
)  # fmt: skip

UNLABELED = """[...document.querySelectorAll("button, select, input:not([hidden]), textarea, meter, canvas, [role]")]
  .filter((node) => !(node.labels?.length || node.getAttribute("aria-label") || node.getAttribute("aria-labelledby")
    || node.textContent.trim() || ["alert", "status"].includes(node.getAttribute("role")))).map((node) => node.outerHTML)"""
"""The controls without a name."""

OVERFLOWING = """[...document.querySelectorAll("body *")].filter((node) => {
  const box = node.getBoundingClientRect();
  return box.width && !node.matches(".skip") && (box.right > innerWidth + 0.5 || box.left < -0.5);
}).map((node) => node.outerHTML.slice(0, 80))"""
"""The elements that are wider than the window."""

PALE = """(() => {
  const channels = (text) => {
    const found = text.match(/[\\d.]+/g).map(Number);
    return [...found.slice(0, 3), found[3] ?? 1];
  };
  const linear = (value) => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const over = (top, under) => [0, 1, 2].map((i) => top[i] * top[3] + under[i] * (1 - top[3]));
  const paper = (node) => {
    const own = channels(getComputedStyle(node).backgroundColor);
    return own[3] === 1 || !node.parentElement ? own : [...over(own, paper(node.parentElement)), 1];
  };
  const ratio = (node) => {
    const under = paper(node), ink = over(channels(getComputedStyle(node).color), under);
    const [low, high] = [light(under), light(ink)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const shown = (node) => node.checkVisibility({ visibilityProperty: true }) && node.getClientRects().length
    && !node.closest(":disabled, .skip, script, style, noscript, option");
  return [...document.querySelectorAll("body *")]
    .filter((node) => [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim()) && shown(node))
    .map((node) => [Math.round(100 * ratio(node)) / 100, node.outerHTML.slice(0, 80)]).filter(([found]) => found < 4.5);
})()"""
"""Texts with a contrast below 4.5 (WCAG 2.2, 1.4.3), with the contrast. Disabled controls are exempt."""


def find_chromium():
    """Return the path of Chromium."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert path, "Chromium is part of the test set-up: scripts/test --prepare"
    return path


def counters(page):
    """Return the counters of the page of the live server."""
    return page.evaluate("(({line, talk, recording, ...rest}) => rest)(sca)")


def until(page, expression):
    """Wait until an expression is true, and return it.

    The page's policy forbids `wait_for_function`, which evaluates text.
    """
    deadline = time.monotonic() + 120
    while not (found := page.evaluate(expression)):
        assert time.monotonic() < deadline, f"still false: {expression}; {counters(page)}"
        page.wait_for_timeout(50)
    return found
