"""The request that begins a call: an SDP offer, with the settings of the session."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sca.infer.server.core.errors import RequestRejectedError
from sca.infer.server.core.json_input import read_json
from sca.infer.server.http.form import check_not_compressed, open_form, read_request_body
from sca.infer.server.protocols.realtime.events import RealtimeError

if TYPE_CHECKING:
    from starlette.requests import Request

    from sca.config import ServeConfig

__all__ = ["MAX_SDP_BYTES", "CallRequest", "has_data_channel", "prepare_offer", "read_call_request"]

MAX_SDP_BYTES = 65_536
_MAX_FORM_BYTES = 1 << 20
_MAX_CANDIDATES = 32
_MAX_SECTIONS = 8


@dataclass(frozen=True, slots=True)
class CallRequest:
    """A request for a call.

    Attributes:
        sdp: The offer, prepared for the WebRTC library.
        session: The settings of the session, as in `session.update`; None without settings.
    """

    sdp: str
    session: Mapping[str, object] | None = None


async def read_call_request(request: "Request", serve: "ServeConfig") -> CallRequest:
    """Read a request: the SDP alone (`application/sdp`), or a form with the fields `sdp` and `session`.

    Raises:
        RequestRejectedError: The body has another type (415), is too large (413) or cannot be read.
        RealtimeError: A field is not valid.
    """
    check_not_compressed(request)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/sdp":
        return CallRequest(prepare_offer(await read_request_body(request, MAX_SDP_BYTES, serve)))
    if kind != "multipart/form-data":
        raise RequestRejectedError(
            415, "send the SDP offer as application/sdp, or multipart/form-data with the fields `sdp` and `session`"
        )
    async with open_form(request, _MAX_FORM_BYTES, serve) as form:
        sdp, session = [await _content(form.get(name)) for name in ("sdp", "session")]
    if sdp is None:
        raise RealtimeError("the form lacks the field `sdp`", "missing_required_parameter", "sdp")
    if len(sdp) > MAX_SDP_BYTES:
        raise RequestRejectedError(413, f"the SDP offer is larger than {MAX_SDP_BYTES} bytes")
    return CallRequest(prepare_offer(sdp), None if session is None else _read_session(session))


async def _content(field: object) -> bytes | None:
    """Return the content of a field, which may be a file."""
    from starlette.datastructures import UploadFile

    if isinstance(field, UploadFile):
        return await field.read()
    return field.encode() if isinstance(field, str) else None


def _read_session(data: bytes) -> Mapping[str, object]:
    try:
        session = read_json(data)
    except ValueError as error:
        raise RealtimeError("the field `session` is not JSON", "invalid_json", "session") from error
    if not isinstance(session, dict):
        raise RealtimeError("the field `session` is not a JSON object", "invalid_json", "session")
    return session


def prepare_offer(data: bytes) -> str:
    """Check an SDP offer, and leave out candidates that are of no use.

    Host names that end in `.local` (mDNS) are left out: the address of the browser becomes known when its checks
    arrive. The end of candidates is left out too, because more addresses may become known in this way.

    Args:
        data: The SDP.

    Raises:
        RealtimeError: It is not an SDP offer with audio.
    """
    try:
        lines = data.decode().splitlines()
    except UnicodeDecodeError as error:
        raise RealtimeError("the SDP offer is not UTF-8", "invalid_offer", "sdp") from error
    lines = [line for line in lines if line]
    if not lines or lines[0].strip() != "v=0":
        raise RealtimeError("the body is not an SDP offer: its first line must be v=0", "invalid_offer", "sdp")
    sections = [line for line in lines if line.startswith("m=")]
    if not any(line.startswith("m=audio ") for line in sections):
        raise RealtimeError(
            "the SDP offer does not contain audio: add a track, or an audio transceiver", "invalid_offer", "sdp"
        )
    if len(sections) > _MAX_SECTIONS:
        raise RealtimeError(f"the SDP offer has more than {_MAX_SECTIONS} media sections", "invalid_offer", "sdp")
    candidates = 0
    kept = []
    for line in lines:
        if line.startswith("a=candidate:"):
            candidates += 1
            if ".local " in line or candidates > _MAX_CANDIDATES:
                continue
        if line != "a=end-of-candidates":
            kept.append(line)
    return "\r\n".join(kept) + "\r\n"


def has_data_channel(sdp: str) -> bool:
    """Return whether an offer has a data channel."""
    return "\r\nm=application " in sdp
