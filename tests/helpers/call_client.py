"""A client of calls over WebRTC by aiortc: it plays an array as its microphone, and records what it hears."""

import asyncio
import fractions
import json
from contextlib import asynccontextmanager

import httpx
import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av import AudioFrame

from sca.infer.server.protocols.webrtc.peer import use_addresses
from tests.helpers.timeouts import TIMEOUT_S

HZ = 48_000
FRAME = 960


class Microphone(MediaStreamTrack):
    """Sends an array in real time, then silence.

    Args:
        samples: Float32 mono at 48 kHz.
    """

    kind = "audio"

    def __init__(self, samples=()):
        super().__init__()
        self._samples = np.asarray(samples, np.float32)
        self._at, self.sent, self._start_s = 0, 0, None

    def say(self, samples):
        """Send other samples from now on."""
        self._samples, self._at = np.asarray(samples, np.float32), 0

    @property
    def done(self):
        return self._at >= len(self._samples)

    async def recv(self):
        if self.readyState != "live":
            raise MediaStreamError
        loop = asyncio.get_running_loop()
        self._start_s = loop.time() if self._start_s is None else self._start_s
        await asyncio.sleep(max(0, self._start_s + self.sent / HZ - loop.time()))
        piece = np.zeros(FRAME, np.float32)
        found = self._samples[self._at : self._at + FRAME]
        piece[: len(found)] = found
        frame = AudioFrame.from_ndarray(np.rint(piece * 32767).astype("<i2")[np.newaxis], "s16", "mono")
        frame.sample_rate, frame.pts, frame.time_base = HZ, self.sent, fractions.Fraction(1, HZ)
        self._at += FRAME
        self.sent += FRAME
        return frame


class Call:
    """An open call.

    Attributes:
        connection: The peer connection.
        channel: The data channel.
        microphone: What the user says.
        events: The events of the server, with the number of samples heard before each.
        heard: The audio of the server, pieces of float32 at 48 kHz.
        offer: The SDP that was sent.
        path: The path of the call at the server.
    """

    def __init__(self, samples=()):
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.channel = self.connection.createDataChannel("oai-events")
        self.microphone = Microphone(samples)
        self.events, self.heard, self.path, self.offer = [], [], None, None
        self._changed = asyncio.Condition()
        self._tasks = set()
        self.connection.addTrack(self.microphone)
        self.channel.on("message", self._on_message)
        self.connection.on("track", self._on_track)
        self.connection.on("connectionstatechange", self._notify)

    def _on_message(self, text):
        self.events.append((len(self.heard) * FRAME, json.loads(text)))
        self._notify()

    def _on_track(self, track):
        self._start(self._listen(track))

    async def _listen(self, track):
        try:
            while True:
                frame = await track.recv()
                self.heard.append(frame.to_ndarray().reshape(-1, 2)[:, 0] / np.float32(32768))
                self._notify()
        except MediaStreamError:
            pass

    def _start(self, coroutine):
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _notify(self):
        self._start(self._wake())

    async def _wake(self):
        async with self._changed:
            self._changed.notify_all()

    async def wait(self, holds):
        """Wait until a condition is true, and return it."""
        async with asyncio.timeout(TIMEOUT_S), self._changed:
            while not (found := holds()):
                await self._changed.wait()
            return found

    async def event(self, kind, number=1):
        """Wait for the n-th event of a type, and return it."""
        await self.wait(lambda: self.kinds().count(kind) >= number)
        return self.all(kind)[number - 1]

    def all(self, kind):
        """The events of a type so far."""
        return [event for _, event in self.events if event["type"] == kind]

    def kinds(self):
        return [event["type"] for _, event in self.events]

    def send(self, event):
        self.channel.send(json.dumps(event))

    @property
    def audio(self):
        return np.concatenate(self.heard) if self.heard else np.zeros(0, np.float32)

    async def make_offer(self):
        offer = await self.connection.createOffer()
        use_addresses(self.connection, ["127.0.0.1"])
        await self.connection.setLocalDescription(offer)
        return self.connection.localDescription.sdp

    async def connect(self, url, key=None, session=None, path="/v1/realtime/calls"):
        """Send the offer; return the response."""
        self.offer = await self.make_offer()
        response = await post_offer(url, self.offer, key, session, path)
        if response.status_code == 201:
            self.path = response.headers["location"]
            await self.connection.setRemoteDescription(RTCSessionDescription(response.text, "answer"))
        return response


def vanish(call):
    """Stop the client of a call without a sign, as a network failure does."""
    for transport in {call.connection.sctp.transport.transport}:
        for protocol in transport._connection._protocols:
            protocol.transport.abort()


async def post_offer(url, sdp, key=None, session=None, path="/v1/realtime/calls"):
    """Post an offer, alone or in a form with the settings of the session."""
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    body = {"content": sdp, "headers": headers | {"Content-Type": "application/sdp"}}
    if session is not None:
        body = {"files": {"sdp": (None, sdp), "session": (None, json.dumps(session))}, "headers": headers}
    async with httpx.AsyncClient(timeout=TIMEOUT_S) as client:
        return await client.post(f"{url}{path}", **body)


@asynccontextmanager
async def calling(url, samples=(), **options):
    """Hold a call."""
    call = Call(samples)
    try:
        call.response = await call.connect(url, **options)
        assert call.response.status_code == 201, call.response.text
        await call.event("session.created")
        yield call
    finally:
        await call.connection.close()
