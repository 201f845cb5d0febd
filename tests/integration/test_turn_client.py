"""The turn client against a scripted server that does what servers do wrong, and `sca turn ask` against the real one."""

import io
import socket
import threading
import time
from functools import partial

import numpy as np
import pytest

from sca.errors import ConfigError, InputError, UpstreamError, UsageError
from sca.infer.turn.client import TurnClient, TurnTimeoutError, encode
from sca.infer.turn.client.load_test import last_seconds, run_load_test, shipped_speech
from tests.helpers.patience import PATIENCE_S
from tests.helpers.turn_servers import answer, free_port, scripted

SOUND = np.linspace(-1, 1, 1600, dtype=np.float32)


@pytest.fixture
def server():
    with scripted(0.9) as state:
        yield state


@pytest.fixture
def client(server):
    with TurnClient(server.url, timeout_s=PATIENCE_S) as one:
        yield one


# --- what goes over the wire ---


def test_the_body_is_what_the_wire_format_says():
    body = encode(SOUND)
    assert body[:8] == b"\x93NUMPY\x01\x00"
    assert len(body) == 128 + 4 * len(SOUND)
    assert b"{'descr': '<f4', 'fortran_order': False, 'shape': (1600,), }" in body
    assert np.array_equal(np.load(io.BytesIO(body), allow_pickle=False), SOUND)
    assert encode(SOUND.astype(">f4")) == encode(SOUND.astype(np.float64)) == body
    with pytest.raises(ValueError, match=r"\(n,\)"):
        encode(np.zeros((2, 2), np.float32))


def test_a_question_and_its_answer(server):
    with TurnClient(server.url + "/raw", "secret", timeout_s=PATIENCE_S) as client:
        found = client.predict(SOUND, 8000, threshold=0.25)
    ((samples, headers),) = server.asked
    assert np.array_equal(samples, SOUND)
    assert headers["Content-Type"] == "application/octet-stream"
    assert headers["Authorization"] == "Key secret"
    assert (headers["X-Sample-Rate"], headers["X-Threshold"]) == ("8000", "0.25")
    assert (found.prediction, found.finished, found.probability) == (1, True, 0.9)
    assert found.metrics.inference_time == 0.01


def test_without_a_key_or_threshold_none_is_sent(server, client):
    client.predict(SOUND)
    assert {"Authorization", "X-Threshold"} & set(server.asked[0][1]) == set()


def test_one_connection_serves_many_questions(server, client):
    for _ in range(5):
        client.predict(SOUND)
    assert (len(server.asked), server.connections) == (5, 1)


def test_a_connection_that_the_server_dropped_is_made_anew(server, client):
    server.close_after_answer = True
    assert [client.predict(SOUND).prediction for _ in range(3)] == [1, 1, 1]
    assert len(server.asked) == 3


def test_it_can_be_used_again_after_close(server, client):
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
def test_addresses(url, shown):
    assert TurnClient(url).url == shown


@pytest.mark.parametrize("url", ["", "ftp://host", "http://", "http://host:99999", "http://host:0", "http://h/raw?x=1"])
def test_addresses_that_are_none(url):
    with pytest.raises(UsageError, match="not the address of a turn server"):
        TurnClient(url)


def test_a_key_that_no_header_can_hold():
    with pytest.raises(ConfigError, match="characters"):
        TurnClient("http://h", "two\nlines")


# --- what servers say and do instead ---


@pytest.mark.parametrize(
    ("status", "document", "headers", "error", "said"),
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
def test_what_is_no_answer_is_an_error(server, client, status, document, headers, error, said):
    server.reply = lambda samples, _: (status, document, headers)
    with pytest.raises(error, match=said) as caught:
        client.predict(SOUND)
    assert server.url in caught.value.message
    if "Retry-After" in headers:
        assert "try again in 2 s" in caught.value.hint
    server.reply = lambda samples, _: (200, answer(0.2), {})
    assert client.predict(SOUND).prediction == 0, "the connection is still good"


def test_other_servers_send_more_and_less(server, client):
    server.reply = lambda samples, _: (
        200,
        {"prediction": 0, "probability": 0.1, "model": "x", "metrics": {"a": 1}},
        {},
    )
    assert client.predict(SOUND).probability == 0.1


def test_nobody_listens():
    with TurnClient(f"http://127.0.0.1:{free_port()}") as client:
        with pytest.raises(UpstreamError, match="Connection refused") as caught:
            client.predict(SOUND)
        assert "sca turn start" in caught.value.hint
        assert not client.healthy()


def test_no_answer_in_time(server):
    server.reply = lambda samples, _: (200, answer(float(samples.max())), {})
    with TurnClient(server.url, timeout_s=0.2) as client:
        server.gate.clear()
        began = time.monotonic()
        with pytest.raises(TurnTimeoutError, match=r"within 0\.2 s"):
            client.predict(SOUND * np.float32(0.75))
        assert time.monotonic() - began < PATIENCE_S / 2
        server.gate.set()
        client._timeout_s = PATIENCE_S
        found = client.predict(SOUND * np.float32(0.25))
        assert found.probability == 0.25, "a late answer is not taken for the next question's"


def test_a_server_that_says_nothing_or_half():
    for said in (b"", b"HTTP/1.1 200 OK\r\nContent-Le", b"rubbish\r\n\r\n"):
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def answer_once(listener=listener, said=said):
                with listener.accept()[0] as connection:
                    connection.recv(1 << 16)
                    connection.sendall(said)

            thread = threading.Thread(target=answer_once)
            thread.start()
            with TurnClient(f"http://127.0.0.1:{listener.getsockname()[1]}") as client, pytest.raises(UpstreamError):
                client.predict(SOUND)
            thread.join()


def test_threads_take_turns(server):
    with TurnClient(server.url, timeout_s=PATIENCE_S) as client:
        found = []
        threads = [threading.Thread(target=lambda: found.append(client.predict(SOUND).prediction)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == [1] * 8
    assert server.connections == 1


# --- a small load ---


def test_a_load_counts_everything(server):
    sent, together = iter(range(100)), threading.Barrier(4)

    def reply(samples, _):
        number = next(sent)
        if number < 4:  # one of each connection, or the quickest might ask all
            together.wait(PATIENCE_S)
        return (503, {"detail": "full"}, {}) if number % 5 == 0 else (200, answer(0.9), {})

    server.reply = reply
    result = run_load_test(lambda: TurnClient(server.url, timeout_s=PATIENCE_S), SOUND, concurrency=4, requests=40)
    document = result.document()
    assert (document["requests"], document["answered"], sum(document["errors"].values())) == (40, 32, 8)
    assert len(server.asked) == 40
    assert 0 < document["p50_ms"] <= document["p95_ms"] <= document["p99_ms"] <= document["max_ms"]
    assert server.connections == 4


def test_a_load_ends_in_time(server):
    asking = partial(TurnClient, server.url, timeout_s=PATIENCE_S)
    result = run_load_test(asking, SOUND, concurrency=2, seconds=0.3)
    assert 0.3 <= result.wall_s < PATIENCE_S
    assert result.errors.total() == 0 < len(result.latencies_s)


def test_a_load_with_a_wrong_key_ends_at_once(server):
    server.reply = lambda samples, _: (401, {"detail": "key"}, {})
    with pytest.raises(ConfigError, match="401"):
        run_load_test(lambda: TurnClient(server.url, timeout_s=PATIENCE_S), SOUND, concurrency=2, requests=1000)
    assert len(server.asked) <= 2


def test_the_end_of_a_file_is_what_reading_all_of_it_gives(tmp_path):
    import soundfile

    from sca.audio.decode import read_audio

    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 44_100 * 12).astype(np.float32)
    path = tmp_path / "long.wav"
    soundfile.write(path, noise, 44_100)
    assert np.array_equal(last_seconds(path, 8), read_audio(path, 16_000)[-128_000:])
    short = shipped_speech()[:1000]
    soundfile.write(path, short, 16_000, subtype="FLOAT")
    assert np.array_equal(last_seconds(path), short)
