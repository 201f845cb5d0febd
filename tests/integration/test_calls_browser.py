"""Calls from Chromium, with a page of another origin: OpenAI's snippet of our documentation, and OpenAI Agents."""

import os
import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import httpx
import numpy as np
import pytest
import soundfile as sf
from playwright.sync_api import sync_playwright

from sca.audio.decode import read_audio
from sca.units import HEARD_HZ
from tests.helpers.browser import FLAGS, find_chromium
from tests.helpers.client_matrix import cache
from tests.helpers.live_servers import process
from tests.helpers.markdown import ROOT, blocks

KEY = "secret123"
RELAXED = ("--set", "live.deadline_ms=60000", "--set", "live.lag_chunks=1000", "--set", "live.listen_buffer_ms=60000")
BUNDLE = "node_modules/@openai/agents-realtime/dist/bundle/openai-realtime-agents.umd.js"
AGENT = """
const agents = OpenAIAgentsRealtime;
const transport = new agents.OpenAIRealtimeWebRTC();
const session = new agents.RealtimeSession(new agents.RealtimeAgent({ name: 'Greeter', instructions: 'Be brief.' }), { transport });
await session.connect({ apiKey: EPHEMERAL_KEY, url: 'http://127.0.0.1:8000/v1/realtime/calls' });
window.callId = transport.callId;
const { peerConnection: pc, dataChannel: dc } = transport.connectionState;
"""
OBSERVE = """
window.events = [];
dc.addEventListener('message', (e) => window.events.push(JSON.parse(e.data)));
window.pc = pc;
"""
HEARD = """async () => {
  for (const report of (await pc.getStats()).values())
    if (report.type === 'inbound-rtp') return [report.totalAudioEnergy, report.totalSamplesReceived, report.concealedSamples];
}"""


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@contextmanager
def pages(folder):
    """Serve a folder from an origin of its own."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def browser(trial_data, tmp_path_factory):
    """A page of another origin than the server, in a browser with a phrase as its microphone."""
    folder = tmp_path_factory.mktemp("calls")
    phrase = read_audio(trial_data / "clips" / "jfk.flac", HEARD_HZ)[: int(2.3 * HEARD_HZ)]
    mic = np.concatenate([np.zeros(HEARD_HZ, np.float32), phrase, np.zeros(6 * HEARD_HZ, np.float32)])
    sf.write(folder / "mic.wav", mic, HEARD_HZ, subtype="PCM_16")
    (folder / "index.html").write_text("<!doctype html><title>Call</title><body>")
    if (cache() / "installed").exists():
        (folder / "agents.js").symlink_to(cache() / "node" / BUNDLE)
    flags = [*FLAGS, f"--use-file-for-fake-audio-capture={folder / 'mic.wav'}"]
    with (
        pages(folder) as origin,
        process("--auth-key", KEY, "--set", f"serve.origins={origin}", *RELAXED) as (_, url),
        sync_playwright() as play,
    ):
        chromium = play.chromium.launch(executable_path=find_chromium(), headless=True, args=flags, timeout=120_000)
        try:
            context = chromium.new_context(permissions=["microphone"])
            context.set_default_timeout(120_000)
            yield context, origin, url
        finally:
            chromium.close()


def ephemeral_key(url):
    response = httpx.post(f"{url}/v1/realtime/client_secrets", json={}, headers={"Authorization": f"Bearer {KEY}"})
    return response.json()["value"]


def hold_call(browser, code, script=None):
    """Run the code of a client, and wait until the answer was played. Returns the events and the statistics."""
    context, origin, url = browser
    page = context.new_page()
    try:
        page.goto(origin)
        if script is not None:
            page.add_script_tag(url=f"{origin}/{script}")
        code = code.replace("http://127.0.0.1:8000", url)
        page.evaluate(f"async (EPHEMERAL_KEY) => {{ {code} {OBSERVE} }}", ephemeral_key(url))
        page.wait_for_function("events.some((event) => event.type === 'output_audio_buffer.stopped')")
        seen = page.evaluate("events"), page.evaluate(HEARD), page.evaluate("window.callId ?? null")
        page.evaluate("pc.close()")
    finally:
        page.close()
    return seen


def check(events, heard):
    kinds = [event["type"] for event in events]
    order = [
        "session.created", "input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped",
        "response.created", "response.output_audio_transcript.delta", "output_audio_buffer.started", "response.done",
        "output_audio_buffer.stopped",
    ]  # fmt: skip
    assert [kind for kind in dict.fromkeys(kinds) if kind in order] == order
    energy, samples, concealed = heard
    assert energy > 0.001
    assert samples > 48_000
    assert concealed < samples / 2


def test_snippet_of_the_documentation(browser):
    (snippet,) = [block for block in blocks(ROOT / "docs" / "serve-clients.md", "js") if "RTCPeer" in block.text]
    events, heard, _ = hold_call(browser, snippet.text)
    check(events, heard)


def test_openai_agents_in_a_browser(browser):
    if not (cache() / "installed").exists():
        assert not os.environ.get("CI"), "scripts/test --prepare installs the clients"
        pytest.skip(f"{cache()} is missing: scripts/test --prepare installs it")
    events, heard, call_id = hold_call(browser, AGENT, "agents.js")
    assert call_id.startswith("rtc_")
    check([{"type": "session.created"}, *events], heard)
