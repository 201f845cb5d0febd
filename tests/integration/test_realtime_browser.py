"""`WS /v1/realtime` for browsers: keys as subprotocols, client secrets, and the events of the beta."""

import asyncio
import json

import httpx
import pytest
from openai import AsyncOpenAI
from websockets.exceptions import InvalidStatus

from sca.infer.engines.parrot import ParrotEngine
from tests.helpers.live_servers import running
from tests.helpers.timeouts import TIMEOUT_S, connect

KEY = "secret123"
BETA = "openai-beta.realtime-v1"


@pytest.fixture(scope="module")
def server():
    with running(ParrotEngine(), auth_key=KEY) as server:
        yield server


def open_with(server, *subprotocols, **options):
    url = f"ws://127.0.0.1:{server.port}/v1/realtime"
    return connect(url, subprotocols=list(subprotocols) or None, proxy=None, **options)


def first_session(ws):
    event = json.loads(ws.recv(TIMEOUT_S))
    assert event["type"] == "session.created"
    return event["session"]


def post(server, path, body, key=KEY):
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    return httpx.post(f"{server.url}/v1/realtime/{path}", json=body, headers=headers, timeout=TIMEOUT_S)


@pytest.mark.parametrize(
    "offered", [["realtime", f"openai-insecure-api-key.{KEY}", BETA], [f"openai-insecure-api-key.{KEY}", "realtime"]]
)
def test_key_in_a_subprotocol_of_openai(server, offered):
    with open_with(server, *offered) as ws:
        assert ws.subprotocol == "realtime"
        assert ("input_audio_format" in first_session(ws)) is (BETA in offered)


@pytest.mark.parametrize("offered", [["realtime"], ["realtime", "openai-insecure-api-key.wrong"]])
def test_wrong_key_in_a_subprotocol(server, offered):
    with pytest.raises(InvalidStatus) as rejected:
        open_with(server, *offered)
    assert rejected.value.response.status_code == 401


def test_key_is_never_the_accepted_subprotocol():
    with running(ParrotEngine()) as server, open_with(server, "openai-insecure-api-key.X", BETA) as ws:
        assert ws.subprotocol is None


@pytest.mark.parametrize("way", ["subprotocol", "header"])
def test_beta_session_has_beta_fields(server, way):
    key = f"openai-insecure-api-key.{KEY}"
    if way == "subprotocol":
        opened = open_with(server, "realtime", key, BETA)
    else:
        headers = {"OpenAI-Beta": "realtime=v1", "Authorization": f"Bearer {KEY}"}
        opened = open_with(server, additional_headers=headers)
    with opened as ws:
        session = first_session(ws)
        update = {"modalities": ["text", "audio"], "output_audio_format": "g711_ulaw", "turn_detection": None}
        ws.send(json.dumps({"type": "session.update", "session": update}))
        updated = json.loads(ws.recv(TIMEOUT_S))["session"]
    assert (session["object"], session["modalities"]) == ("realtime.session", ["text", "audio"])
    assert (session["input_audio_format"], session["turn_detection"]["type"]) == ("pcm16", "server_vad")
    assert (updated["output_audio_format"], updated["turn_detection"]) == ("g711_ulaw", None)
    assert "audio" not in updated


def test_client_secret_opens_sessions_with_its_settings(server):
    async def main():
        wanted = {"type": "realtime", "instructions": "Be brief."}
        life = {"anchor": "created_at", "seconds": 60}
        async with AsyncOpenAI(api_key=KEY, base_url=f"{server.url}/v1") as openai:
            return await openai.realtime.client_secrets.create(session=wanted, expires_after=life)

    created = asyncio.run(main())
    assert created.value.startswith("ek_")
    assert created.session.instructions == "Be brief."
    for _ in range(2):
        with open_with(server, "realtime", f"openai-insecure-api-key.{created.value}") as ws:
            assert first_session(ws)["instructions"] == "Be brief."
    headers = {"Authorization": f"Bearer {created.value}"}
    with open_with(server, additional_headers=headers) as ws:
        assert first_session(ws)["instructions"] == "Be brief."


def test_client_secret_opens_nothing_else(server):
    secret = post(server, "client_secrets", {}).json()["value"]
    for method, path in (("GET", "/metrics"), ("POST", "/v1/realtime/client_secrets"), ("GET", "/v1/models")):
        headers = {"Authorization": f"Bearer {secret}"}
        assert httpx.request(method, server.url + path, headers=headers).status_code == 401
    with pytest.raises(InvalidStatus):
        connect(server.ws, additional_headers={"Authorization": f"Bearer {secret}"}, proxy=None)


def test_client_secret_of_the_beta(server):
    document = post(server, "sessions", {"model": "gpt-4o-realtime-preview", "voice": "verse"}).json()
    assert document["object"] == "realtime.session"
    with open_with(server, "realtime", f"openai-insecure-api-key.{document['client_secret']['value']}", BETA) as ws:
        assert "input_audio_format" in first_session(ws)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"expires_after": {"seconds": 5}}, "expires_after.seconds"),
        ({"expires_after": {"anchor": "never"}}, "expires_after.anchor"),
        ({"session": {"type": "transcription"}}, "session.type"),
        ({"session": {"audio": 3}}, "session.audio"),
        ({"life": 5}, "life"),
        ([1], "not a JSON object"),
    ],
)
def test_invalid_requests_for_client_secrets(server, body, message):
    response = post(server, "client_secrets", body)
    assert response.status_code == 400
    assert message in response.json()["error"]["what"]


def test_client_secrets_need_the_key(server):
    assert post(server, "client_secrets", {}, key=None).status_code == 401
    assert post(server, "sessions", {}, key="ek_wrong").status_code == 401
