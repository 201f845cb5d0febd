"""The turn client with a scripted server that makes the errors of servers, and the load test."""

import io
import itertools
import socket
import threading
from contextlib import suppress
from functools import partial

import numpy as np
import pytest

from sca.errors import ConfigError, InputError, UpstreamError, UsageError
from sca.infer.turn.client import TurnClient, TurnTimeoutError, encode, load_test
from sca.infer.turn.client.load_test import last_seconds, run_load_test, shipped_speech
from tests.helpers.ports import refusing_port
from tests.helpers.timeouts import TIMEOUT_S, until
from tests.helpers.turn_servers import answer, scripted

SOUND = np.linspace(-1, 1, 1600, dtype=np.float32)


@pytest.fixture
def server():
    with scripted(0.9) as state:
        yield state


@pytest.fixture
def client(server):
    with TurnClient(server.url, timeout_s=TIMEOUT_S) as client:
        yield client


# --- requests ---


def test_request_body_has_the_wire_format():
    body = encode(SOUND)
    assert body[:8] == b"\x93NUMPY\x01\x00"
    assert len(body) == 128 + 4 * len(SOUND)
    assert b"{'descr': '<f4', 'fortran_order': False, 'shape': (1600,), }" in body
    assert np.array_equal(np.load(io.BytesIO(body), allow_pickle=False), SOUND)
    assert encode(SOUND.astype(">f4")) == encode(SOUND.astype(np.float64)) == body
    with pytest.raises(ValueError, match=r"\(n,\)"):
        encode(np.zeros((2, 2), np.float32))


def test_request_and_response(server):
    with TurnClient(server.url + "/raw", "secret", timeout_s=TIMEOUT_S) as client:
        found = client.predict(SOUND, 8000, threshold=0.25)
    ((samples, headers),) = server.requests
    assert np.array_equal(samples, SOUND)
    assert headers["Content-Type"] == "application/octet-stream"
    assert headers["Authorization"] == "Key secret"
    assert (headers["X-Sample-Rate"], headers["X-Threshold"]) == ("8000", "0.25")
    assert (found.prediction, found.finished, found.probability) == (1, True, 0.9)
    assert found.metrics.inference_time == 0.01


def test_key_and_threshold_headers_are_optional(server, client):
    client.predict(SOUND)
    assert {"Authorization", "X-Threshold"} & set(server.requests[0][1]) == set()


def test_requests_share_one_connection(server, client):
    for _ in range(5):
        client.predict(SOUND)
    assert (len(server.requests), server.connections) == (5, 1)


def test_reconnects_after_the_server_closed(server, client):
    server.close_after_answer = True
    assert [client.predict(SOUND).prediction for _ in range(3)] == [1, 1, 1]
    assert len(server.requests) == 3


def test_can_be_used_after_close(server, client):
    client.predict(SOUND)
    client.close()
    client.close()
    assert client.predict(SOUND).finished


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("localhost:8000", "http://localhost:8000"),
        ("http://[::1]:8000/", "http://[::1]:8000"),
        ("https://turn.example/v3/raw", "https://turn.example/v3"),
    ],
)
def test_accepts_addresses(url, shown):
    assert TurnClient(url).url == shown


@pytest.mark.parametrize("url", ["", "ftp://host", "http://", "http://host:99999", "http://host:0", "http://h/raw?x=1"])
def test_rejects_invalid_addresses(url):
    with pytest.raises(UsageError, match="not the address of a turn server"):
        TurnClient(url)


def test_rejects_keys_that_are_not_header_values():
    with pytest.raises(ConfigError, match="characters"):
        TurnClient("http://h", "two\nlines")


# --- failures ---


@pytest.mark.parametrize(
    ("status", "document", "headers", "error", "text"),
    [
        (400, {"detail": "not an npy file"}, {}, InputError, "answered 400: not an npy file"),
        (401, {"detail": "wrong key"}, {}, ConfigError, "answered 401: wrong key"),
        (413, {"error": {"status": 413, "what": "too long"}}, {}, InputError, "answered 413: too long"),
        (415, b"plain words", {}, InputError, "answered 415: plain words"),
        (422, {"detail": [{"loc": "body"}]}, {}, InputError, "answered 422"),
        (500, {"detail": "broken"}, {}, UpstreamError, "answered 500: broken"),
        (503, {"detail": "full"}, {"Retry-After": "2"}, UpstreamError, "answered 503: full"),
        (302, b"", {"Location": "/"}, UpstreamError, "answered 302: Found"),
        (200, b"<html>", {}, UpstreamError, "not a turn response: <html>"),
        (200, {"prediction": 1}, {}, UpstreamError, "not a turn response"),
        (200, {"prediction": 2, "probability": 0.5}, {}, UpstreamError, "not a turn response"),
        (200, {"prediction": 1, "probability": 7}, {}, UpstreamError, "not a turn response"),
        (200, b'{"prediction": 1, "probability": NaN}', {}, UpstreamError, "not a turn response"),
    ],
)
def test_other_responses_are_errors(server, client, status, document, headers, error, text):
    server.reply = lambda samples, _: (status, document, headers)
    with pytest.raises(error, match=text) as caught:
        client.predict(SOUND)
    assert server.url in caught.value.message
    if "Retry-After" in headers:
        assert "try again in 2 s" in caught.value.hint
    server.reply = lambda samples, _: (200, answer(0.2), {})
    assert client.predict(SOUND).prediction == 0, "the connection can still be used"


def test_ignores_additional_fields(server, client):
    server.reply = lambda samples, _: (
        200,
        {"prediction": 0, "probability": 0.1, "model": "x", "metrics": {"a": 1}},
        {},
    )
    assert client.predict(SOUND).probability == 0.1


def test_connection_refused():
    with refusing_port() as port, TurnClient(f"http://127.0.0.1:{port}", timeout_s=TIMEOUT_S) as client:
        with pytest.raises(UpstreamError, match="Connection refused") as caught:
            client.predict(SOUND)
        assert "sca turn start" in caught.value.hint
        assert not client.healthy()


def test_timeout(server):
    server.reply = lambda samples, _: (200, answer(float(samples.max())), {})
    with TurnClient(server.url, timeout_s=0.2) as client:
        server.gate.clear()
        with pytest.raises(TurnTimeoutError, match=r"within 0\.2 s"):
            client.predict(SOUND * np.float32(0.75))
        assert not server.gate.is_set()
        server.gate.set()
        client._timeout_s = TIMEOUT_S
        found = client.predict(SOUND * np.float32(0.25))
        assert found.probability == 0.25, "a late response is not used for the next request"


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"


@pytest.mark.parametrize(
    ("first", "piece"),
    [(b"HTTP/1.1 200 OK\r\nX-Long: ", b"a"), (b"", b"HTTP/1.1 100 Continue\r\n\r\n"), (HEAD, b" ")],
    ids=["head", "continue", "body"],
)
def test_trickled_responses_end_at_the_deadline(first, piece):
    """A response that never ends, and has a part within every timeout of a socket."""
    client_left = threading.Event()

    def trickle():
        with listener.accept()[0] as connection:
            connection.recv(1 << 16)
            connection.sendall(first)
            with suppress(OSError):
                while not client_left.wait(0.02):
                    connection.sendall(piece)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=trickle, daemon=True)
        thread.start()
        # A client that waits for the response as a whole does not return: the watch ends the response then.
        watch = threading.Timer(TIMEOUT_S, client_left.set)
        watch.start()
        with TurnClient(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout_s=0.3) as client:
            with pytest.raises(TurnTimeoutError, match=r"within 0\.3 s"):
                client.predict(SOUND)
            assert not client_left.is_set()
        client_left.set()
        watch.cancel()
        thread.join()


def test_a_body_that_is_not_taken_ends_at_the_deadline():
    with socket.create_server(("127.0.0.1", 0)) as listener:  # accepts, and reads nothing
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with TurnClient(url, timeout_s=0.3) as client, pytest.raises(TurnTimeoutError):
            client.predict(np.zeros(4_000_000, np.float32))


def test_waiting_for_another_thread_counts(server):
    server.gate.clear()
    with TurnClient(server.url, timeout_s=TIMEOUT_S) as client:
        thread = threading.Thread(target=client.predict, args=(SOUND,))
        thread.start()
        until(lambda: server.requests)
        client._timeout_s = 0.05
        with pytest.raises(TurnTimeoutError):
            client.predict(SOUND)
        server.gate.set()
        thread.join()


def test_a_name_whose_look_up_hangs_ends_at_the_deadline(monkeypatch):
    ended = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: [None][: ended.wait(TIMEOUT_S) - 1])
    with TurnClient("http://turn.example", timeout_s=0.1) as client, pytest.raises(TurnTimeoutError):
        client.predict(SOUND)
    ended.set()


def test_a_host_without_an_address(monkeypatch):
    def unknown(*args, **options):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    message = "cannot reach http://turn.example: .*Name or service not known"
    with TurnClient("http://turn.example", timeout_s=TIMEOUT_S) as client, pytest.raises(UpstreamError, match=message):
        client.predict(SOUND)


def test_incomplete_responses_are_errors():
    for data in (b"", b"HTTP/1.1 200 OK\r\nContent-Le", b"rubbish\r\n\r\n"):
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def answer_once(listener=listener, data=data):
                with listener.accept()[0] as connection:
                    connection.recv(1 << 16)
                    connection.sendall(data)

            thread = threading.Thread(target=answer_once)
            thread.start()
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            with TurnClient(url, timeout_s=TIMEOUT_S) as client, pytest.raises(UpstreamError):
                client.predict(SOUND)
            thread.join()


def test_threads_share_a_client(server):
    with TurnClient(server.url, timeout_s=TIMEOUT_S) as client:
        found = []
        threads = [threading.Thread(target=lambda: found.append(client.predict(SOUND).prediction)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == [1] * 8
    assert server.connections == 1


# --- load test ---


def test_load_test_counts_all_requests(server):
    sent, together = iter(range(100)), threading.Barrier(4)

    def reply(samples, _):
        number = next(sent)
        if number < 4:  # one on each connection, so that all of them are used
            together.wait(TIMEOUT_S)
        return (503, {"detail": "full"}, {}) if number % 5 == 0 else (200, answer(0.9), {})

    server.reply = reply
    result = run_load_test(lambda: TurnClient(server.url, timeout_s=TIMEOUT_S), SOUND, concurrency=4, requests=40)
    document = result.document()
    assert (document["requests"], document["answered"], sum(document["errors"].values())) == (40, 32, 8)
    assert len(server.requests) == 40
    assert 0 < document["p50_ms"] <= document["p95_ms"] <= document["p99_ms"] <= document["max_ms"]
    assert server.connections == 4


class SteppedClock:
    """Replaces the module `time`: each reading is 0.1 s later."""

    def __init__(self):
        self._readings = itertools.count()

    def monotonic(self):
        return next(self._readings) / 10

    perf_counter = monotonic


def test_load_test_ends_at_its_time_limit(server, monkeypatch):
    monkeypatch.setattr(load_test, "time", SteppedClock())
    result = run_load_test(partial(TurnClient, server.url, timeout_s=TIMEOUT_S), SOUND, concurrency=2, seconds=3.0)
    assert result.wall_s >= 3.0
    assert result.errors.total() == 0 < len(result.latencies_s) <= 10


def test_load_test_ends_at_a_wrong_key(server):
    server.reply = lambda samples, _: (401, {"detail": "key"}, {})
    with pytest.raises(ConfigError, match="401"):
        run_load_test(lambda: TurnClient(server.url, timeout_s=TIMEOUT_S), SOUND, concurrency=2, requests=1000)
    assert len(server.requests) <= 2


def test_last_seconds_equal_the_end_of_the_whole_file(tmp_path):
    import soundfile

    from sca.audio.decode import read_audio

    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 44_100 * 12).astype(np.float32)
    path = tmp_path / "long.wav"
    soundfile.write(path, noise, 44_100)
    assert np.array_equal(last_seconds(path, 8), read_audio(path, 16_000)[-128_000:])
    short = shipped_speech()[:1000]
    soundfile.write(path, short, 16_000, subtype="FLOAT")
    assert np.array_equal(last_seconds(path), short)
