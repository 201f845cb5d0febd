"""Security of the live server: TLS, rate limits, response headers, a log without secrets."""

import base64
import json
import re
import ssl
import time

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from sca.infer.server.core.limits import RateLimiter
from sca.infer.server.core.security import twilio_signature
from tests.helpers.live_servers import MirrorEngine, certificate, process, running
from tests.helpers.timeouts import TIMEOUT_S, connect

CHUNK = 5120
HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}


def talk(url, **options):
    """Run a session, and return (close code, text messages)."""
    texts = []
    with connect(url, proxy=None, **options) as ws:
        ws.send(bytes(2 * CHUNK))
        ws.send(json.dumps({"type": "end"}))
        try:
            while True:
                message = ws.recv(timeout=TIMEOUT_S)
                if isinstance(message, str):
                    texts.append(message)
        except ConnectionClosed as closed:
            return closed.rcvd.code, texts


def test_serves_all_endpoints_over_tls(tmp_path):
    cert, key = certificate(tmp_path)
    trusts = ssl.create_default_context(cafile=cert)
    with process("--tls-cert", str(cert), "--tls-key", str(key), "--auth-key", "k") as (_, url):
        assert url.startswith("https://127.0.0.1:")
        with httpx.Client(verify=trusts, base_url=url) as client:
            assert client.get("/health").text == "ok"
            assert "<title>" in client.get("/").text
            models = client.get("/v1/models", headers={"Authorization": "Key k"})
            assert models.json()["data"][0]["id"] == "parrot"
        socket_url = url.replace("https", "wss") + "/ws/pcm16"
        code, texts = talk(socket_url, ssl=trusts, additional_headers={"Authorization": "Bearer k"})
        assert (code, len([text for text in texts if "chunk_ms" in text])) == (1000, 1)
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{url}/health")  # the certificate is not trusted by default
        with pytest.raises(httpx.HTTPError):
            httpx.get(url.replace("https", "http") + "/health")


def test_rate_limit_answers_429_with_retry_after():
    with (
        running(MirrorEngine(), requests_per_minute=5, trusted_proxies="127.0.0.1") as server,
        httpx.Client() as client,
    ):
        answers = [client.get(f"{server.url}/health") for _ in range(6)]
        assert [one.status_code for one in answers] == [200] * 5 + [429]
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 12
        assert answers[-1].json()["error"]["what"] == "too many requests: a client may send 5 per minute"
        with pytest.raises(InvalidStatus) as refused:
            connect(server.ws, proxy=None)
        response = refused.value.response
        assert (response.status_code, "retry-after" in response.headers) == (429, True)
        with httpx.Client(transport=httpx.HTTPTransport(local_address="127.0.0.2")) as other:
            assert other.get(f"{server.url}/health").status_code == 200
            # Proxies on 127.0.0.1 are trusted; the header of other clients is ignored.
            spoken = [other.get(f"{server.url}/health", headers={"X-Forwarded-For": f"192.0.2.{i}"}) for i in range(5)]
            assert [one.status_code for one in spoken] == [200] * 4 + [429]

        def through_a_proxy(chain):
            return client.get(f"{server.url}/health", headers={"X-Forwarded-For": chain}).status_code

        assert [through_a_proxy(f"203.0.113.{i}, 192.0.2.7") for i in range(6)] == [200] * 5 + [429]
        assert through_a_proxy("192.0.2.8") == 200


def test_no_proxy_is_trusted_by_default():
    with running(MirrorEngine(), requests_per_minute=2) as server:
        statuses = [
            httpx.get(f"{server.url}/health", headers={"X-Forwarded-For": f"192.0.2.{i}"}).status_code for i in range(3)
        ]
    assert statuses == [200, 200, 429]


def test_one_client_cannot_take_all_sessions():
    def connected(address):
        return connect(server.ws, additional_headers={"X-Forwarded-For": address})

    with running(MirrorEngine(), max_sessions=3, trusted_proxies="127.0.0.1") as server:
        with connected("192.0.2.1") as first, connected("192.0.2.1") as second, connected("192.0.2.1") as third:
            for ws in (first, second):
                ws.send(bytes(10240))
                ws.recv(timeout=TIMEOUT_S)
            with pytest.raises(ConnectionClosed) as refused:
                third.recv(timeout=TIMEOUT_S)
            assert refused.value.rcvd.reason == "2 sessions of this client are open, and that is the limit"
            headers = {"X-Forwarded-For": "192.0.2.1"}
            response = httpx.post(f"{server.url}/infer_wav", files={"file": ("x.wav", b"x")}, headers=headers)
            assert (response.status_code, response.headers["retry-after"]) == (429, "1")
            with connected("192.0.2.2") as other:
                other.send(bytes(10240))
                assert "chunk_ms" in other.recv(timeout=TIMEOUT_S)
        assert server.wait_empty()


def test_trusts_a_configured_proxy():
    with running(MirrorEngine(), requests_per_minute=2, trusted_proxies="127.0.0.2") as server:
        with httpx.Client(transport=httpx.HTTPTransport(local_address="127.0.0.2"), base_url=server.url) as proxy:
            chains = ["192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2"]
            statuses = [proxy.get("/health", headers={"X-Forwarded-For": chain}).status_code for chain in chains]
        assert statuses == [200, 200, 429, 200]
        with httpx.Client(base_url=server.url) as client:
            statuses = [
                client.get("/health", headers={"X-Forwarded-For": f"192.0.2.{i}"}).status_code for i in range(3, 6)
            ]
        assert statuses == [200, 200, 429]


def test_rate_limiter_refills_per_network():
    limiter = RateLimiter(6)
    assert [limiter.acquire("2001:db8::1", 0.0) for _ in range(6)] == [0.0] * 6
    assert limiter.acquire("2001:db8::ffff", 0.0) == pytest.approx(10.0)
    assert limiter.acquire("2001:db8:0:1::1", 0.0) == 0.0
    assert limiter.acquire("2001:db8::1", 4.0) == pytest.approx(6.0)
    assert limiter.acquire("2001:db8::1", 10.0) == 0.0
    assert limiter.acquire("2001:db8::1", 10.0) > 0
    assert limiter.acquire("2001:db8::1", 1e6) == 0.0
    for i in range(20_000):
        limiter.acquire(f"10.0.{i >> 8}.{i & 255}", 1e6)
    assert len(limiter._buckets) == 10_000


def test_every_response_has_the_security_headers():
    with (
        running(MirrorEngine(), auth_key="k", max_body_bytes=1000) as server,
        httpx.Client(base_url=server.url) as client,
    ):
        key = {"Authorization": "Bearer k"}
        paths = list(client.get("/openapi.json", headers=key).json()["paths"])
        answers = [client.get(path) for path in paths]
        for path in ["/health", "/", "/page/page.js", "/nothing", *paths]:
            with client.stream("GET", path, headers=key) as answer:  # the body of a stream of audio does not end
                answers.append(answer)
        answers += [client.get("/", headers={"Origin": "https://evil.example"})]
        answers += [client.post("/infer_wav", files={"file": ("x", bytes(2000))}, headers=key)]
        assert {one.status_code for one in answers} == {200, 401, 403, 404, 405, 413}
        for answer in answers:
            assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS, answer.url
            assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
            assert "server" not in answer.headers
            assert answer.headers["cache-control"] in ("no-store", "no-cache")
            assert "access-control-allow-origin" not in answer.headers


SECRETS = ("s3cret-key", "12345-token", "private-text", "wrong-key", "in-the-url", "name-of-a-file")
DEBUG_PROGRAM = """
import atexit, logging, sys
logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
logging.root.setLevel = lambda level: None  # the log of every package at its lowest level
atexit.register(logging.debug, "end of log")
from sca.infer.server.__main__ import main
sys.exit(main())
"""


def test_debug_log_contains_no_secrets(tmp_path):
    config = tmp_path / "sca.toml"
    config.write_text('[serve]\nauth_key = "s3cret-key"\ntwilio_auth_token = "12345-token"\nlog_level = "debug"\n')
    with process("--config", str(config), program=DEBUG_PROGRAM) as (server, url):
        key = {"Authorization": "Bearer s3cret-key"}
        ws = url.replace("http", "ws")
        for headers in ({"Authorization": "Bearer wrong-key"}, {}):
            with pytest.raises(InvalidStatus):
                connect(f"{ws}/ws/pcm16?key=in-the-url", proxy=None, additional_headers=headers)
        assert httpx.get(f"{url}/v1/models?key=in-the-url").status_code == 401
        assert httpx.get(f"{url}/v1/models?key=in-the-url", headers=key).status_code == 200
        tokens = _sessions(ws, key)
        form = {"file": ("name-of-a-file.wav", b"private-text")}
        assert httpx.post(f"{url}/infer_wav?prompt=private-text", files=form, headers=key).status_code == 422
        offer = "v=0\r\nm=audio 9 private-text\r\na=ice-pwd:private-text"
        sdp = key | {"Content-Type": "application/sdp"}
        assert httpx.post(f"{url}/v1/realtime/calls", content=offer, headers=sdp).status_code in (400, 501)
        wanted = {"session": {"instructions": "private-text"}}
        tokens.append(httpx.post(f"{url}/v1/realtime/client_secrets", json=wanted, headers=key).json()["value"])
        with connect(f"{ws}/v1/realtime", additional_headers={"Authorization": f"Bearer {tokens[-1]}"}) as call:
            assert "private-text" in call.recv(timeout=TIMEOUT_S)
        signature = twilio_signature(f"{ws.replace('ws:', 'wss:')}/twilio", "12345-token")
        with connect(f"{ws}/twilio", proxy=None, additional_headers={"X-Twilio-Signature": signature}) as call:
            call.send(
                json.dumps(
                    {"event": "start", "start": {"streamSid": "MZ", "customParameters": {"prompt": "private-text"}}}
                )
            )
            call.send(json.dumps({"event": "dtmf", "dtmf": {"digit": "private-text"}}))
            call.send("private-text")
            with pytest.raises(ConnectionClosed):
                call.recv(timeout=TIMEOUT_S)
        offered = base64.urlsafe_b64encode(b"s3cret-key").decode().rstrip("=")
        server.terminate()
        log = server.stderr.read()
    for name in ("pcm16", "realtime", "twilio"):
        assert re.search(rf"^20\d\d-\d\d-\d\dT[\d:.]{{12}}Z info session \w+ started at {name}$", log, re.MULTILINE)
    assert log.endswith("debug end of log\n")
    for secret in (*SECRETS, *tokens, signature, offered):
        assert secret not in log, secret


def _sessions(ws, key):
    """Run a session of each protocol with secrets in it, and return the resume tokens."""
    offered = base64.urlsafe_b64encode(b"s3cret-key").decode().rstrip("=")
    tokens = []
    with connect(f"{ws}/ws/pcm16", proxy=None, subprotocols=["sca", f"sca.key.{offered}"]) as one:
        one.send(json.dumps({"prompt": "private-text", "resume": True}))
        one.send(bytes(2 * CHUNK))
        one.send("private-text")
        one.send(json.dumps({"type": "private-text"}))
        one.send(json.dumps({"type": "end"}))
        try:
            while True:
                message = one.recv(timeout=TIMEOUT_S)
                tokens += re.findall(r'"resume_token": "([^"]+)"', message) if isinstance(message, str) else []
        except ConnectionClosed:
            pass
    assert tokens
    with connect(f"{ws}/v1/realtime", proxy=None, additional_headers=key) as one:
        one.send(json.dumps({"type": "session.update", "session": {"instructions": "private-text"}}))
        one.send(json.dumps({"type": "private-text"}))
        while json.loads(one.recv(timeout=TIMEOUT_S))["type"] != "error":
            time.sleep(0)
    return tokens
