"""The WebRTC connection of a call: one audio track in each direction and a data channel, by aiortc."""

import asyncio
import fractions
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
import numpy as np
from numpy.typing import NDArray

from sca.audio.pcm import float32_to_int16
from sca.infer.notifier import Notifier
from sca.infer.server.protocols.realtime.events import RealtimeError
from sca.infer.server.protocols.webrtc.audio import FRAME_SAMPLES, TRACK_HZ, FramePacer

if TYPE_CHECKING:
    from aioice import Candidate
    from aiortc import MediaStreamTrack, RTCDataChannel, RTCPeerConnection
    from av import AudioFrame

__all__ = ["Fill", "Peer"]

logger = logging.getLogger(__name__)

Fill = Callable[[int], NDArray[np.float32]]
"""Returns the next n samples to send, float32 mono `(n,)` at 48 kHz."""

_CLOSE_S = 5.0


class Peer:
    """One WebRTC connection, as the side that answers. Leave it with `close`.

    Args:
        addresses: The addresses of this machine to use; None for all of them.
        ice_servers: URLs of STUN servers, from which the public address of the server is read.
        on_channel: Called with each data channel that the client opens.
    """

    def __init__(
        self,
        addresses: Sequence[str] | None,
        ice_servers: Sequence[str],
        on_channel: "Callable[[RTCDataChannel], object]",
    ) -> None:
        from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection

        self._addresses = addresses
        servers = [RTCIceServer(url) for url in ice_servers]
        self._connection: RTCPeerConnection = RTCPeerConnection(RTCConfiguration(iceServers=servers))
        self._changed = Notifier()
        self._audio: MediaStreamTrack | None = None
        self._connection.on("connectionstatechange", self._changed.notify_all)
        self._connection.on("datachannel", on_channel)
        self._connection.on("track", self._on_track)

    @property
    def is_connected(self) -> bool:
        """Whether audio and messages can be exchanged."""
        return self._connection.connectionState == "connected"

    @property
    def is_closed(self) -> bool:
        """Whether the connection has ended or failed."""
        return self._connection.connectionState in ("closed", "failed")

    @property
    def has_answered(self) -> bool:
        """Whether an offer was answered."""
        return self._connection.localDescription is not None

    async def wait_for_change(self) -> None:
        """Wait until the state of the connection changes."""
        await self._changed.wait()

    def _on_track(self, track: "MediaStreamTrack") -> None:
        if track.kind == "audio" and self._audio is None:
            self._audio = track

    async def answer(self, offer: str, fill: Fill) -> str:
        """Return the answer to an offer, with all candidates of this machine.

        Args:
            offer: The SDP of the client.
            fill: Returns the audio to send.

        Raises:
            RealtimeError: The offer is not valid, or has no codec in common.
        """
        from aiortc import RTCSessionDescription

        connection = self._connection
        try:
            await connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        except OSError:
            raise
        except Exception as error:
            logger.debug("an SDP offer was refused", exc_info=error)
            raise RealtimeError(f"the SDP offer cannot be used: {_reason(error)}", "invalid_offer", "sdp") from error
        connection.addTrack(_speech_track(fill))
        used = False
        for transceiver in connection.getTransceivers():
            if transceiver.kind == "audio" and not used:
                used = True
            else:
                transceiver.direction = "inactive"
        if self._addresses is not None:
            use_addresses(connection, self._addresses)
        await connection.setLocalDescription(await connection.createAnswer())
        return connection.localDescription.sdp

    async def receive(self) -> "AudioFrame | None":
        """Wait for the next frame of the client's audio; None once there is no more."""
        from aiortc.mediastreams import MediaStreamError

        if self._audio is None:
            return None
        try:
            return await self._audio.recv()
        except MediaStreamError:
            return None

    async def close(self) -> None:
        """End the connection."""
        with anyio.CancelScope(shield=True), anyio.move_on_after(_CLOSE_S):
            await self._connection.close()


def use_addresses(connection: "RTCPeerConnection", addresses: Sequence[str]) -> None:
    """Make a connection use these addresses, instead of all addresses of the machine except loopback.

    aioice lacks an option for it. The method by which the sockets are opened gets other arguments. Call this before
    `setLocalDescription`.
    """
    transports = [one.receiver.transport for one in connection.getTransceivers()]
    transports += [] if connection.sctp is None else [connection.sctp.transport]
    for agent in {id(one): one.transport.iceGatherer._connection for one in transports}.values():
        gather = _Gathering(agent.get_component_candidates, addresses)
        agent.get_component_candidates = gather  # type: ignore[method-assign]


@dataclass(frozen=True, slots=True)
class _Gathering:
    """Gathers candidates on the given addresses only."""

    gather: "Callable[[int, list[str], int], Awaitable[list[Candidate]]]"
    addresses: Sequence[str]

    async def __call__(self, component: int, addresses: list[str], timeout: int = 5) -> "list[Candidate]":
        return await self.gather(component, list(self.addresses), timeout)


def _reason(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200] or type(error).__name__


def _speech_track(fill: Fill) -> "MediaStreamTrack":
    """Return a track that sends what `fill` returns, 20 ms at a time in real time."""
    from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
    from av import AudioFrame

    time_s = asyncio.get_running_loop().time
    time_base = fractions.Fraction(1, TRACK_HZ)

    class SpeechTrack(MediaStreamTrack):
        kind = "audio"

        def __init__(self) -> None:
            super().__init__()
            self._pacer, self._position = FramePacer(), 0

        async def recv(self) -> AudioFrame:
            if self.readyState != "live":
                raise MediaStreamError
            await asyncio.sleep(self._pacer.wait_s(time_s()))
            pcm = float32_to_int16(fill(FRAME_SAMPLES))
            frame = AudioFrame.from_ndarray(pcm[np.newaxis], format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = TRACK_HZ, self._position, time_base
            self._position += FRAME_SAMPLES
            return frame

    return SpeechTrack()
