"""The HTTP endpoints of the live server conform to their OpenAPI description."""

import base64
import io
import wave

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.helpers.live_servers import MirrorEngine, running

DESCRIBED = {
    "/api/engine": "GET",
    "/health": "GET",
    "/infer_wav": "POST",
    "/metrics": "GET",
    "/ready": "GET",
    "/v1/models": "GET",
    "/v1/realtime": "POST",
    "/v1/realtime/calls": "POST",
    "/v1/realtime/calls/{call_id}/hangup": "POST",
    "/v1/realtime/client_secrets": "POST",
    "/v1/realtime/sessions": "POST",
}
ENDLESS = "/api/audio-stream"
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def server():
    with running(MirrorEngine(), requests_per_minute=None, max_body_bytes=100_000) as server:
        yield server


@pytest.fixture(scope="module")
def described(server):
    return schemathesis.openapi.from_url(f"{server.url}/openapi.json")


@pytest.mark.parametrize(
    ("path", "mode"),
    [*((path, GenerationMode.POSITIVE) for path in DESCRIBED), ("/infer_wav", GenerationMode.NEGATIVE)],
)
def test_responses_conform_to_the_description(described, path, mode):
    cases = described[path][DESCRIBED[path]].as_strategy(generation_mode=mode)

    @settings(max_examples=25, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(cases)
    def send(case):
        case.call_and_validate(checks=CHECKS)

    send()


def test_every_http_route_is_described(server):
    assert set(httpx.get(f"{server.url}/openapi.json").json()["paths"]) == {*DESCRIBED, ENDLESS}


def test_stream_is_described(server, described):
    described_codes = described[ENDLESS]["GET"].definition.raw["responses"]
    assert {"200", "404"} <= set(described_codes)
    assert httpx.get(f"{server.url}{ENDLESS}", params={"session": "x"}).status_code == 404


def test_successful_response_conforms(server, described):
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(bytes(3200))
    case = described["/infer_wav"]["POST"].Case(body={"file": out.getvalue()}, media_type="multipart/form-data")
    response = case.call_and_validate(checks=[status_code_conformance, response_schema_conformance])
    assert response.status_code == 200
    assert base64.b64decode(response.json()["audio"])[:4] == b"RIFF"
