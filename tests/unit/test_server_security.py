"""Keys in WebSocket subprotocols, allowed origins and signatures."""

import base64

import pytest

from sca.infer.server.core.security import KEY_PROTOCOL, key_matches, origin_allowed, protocol_key, twilio_signature


def offer(key):
    return KEY_PROTOCOL + base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")


@pytest.mark.parametrize("key", ["k", "a longer key", "?>~~\xff", "ключ"])
def test_key_in_a_subprotocol(key):
    given = protocol_key(["realtime", offer(key)])
    assert key_matches(given, key)
    assert not key_matches(given, key + "x")


@pytest.mark.parametrize(
    "offered", [[], ["realtime"], [KEY_PROTOCOL + "a"], [KEY_PROTOCOL + "!!!!"], [KEY_PROTOCOL + "é"]]
)
def test_subprotocols_without_a_key(offered):
    assert protocol_key(offered) is None
    assert not key_matches(protocol_key(offered), "k")


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (None, True),
        ("http://127.0.0.1:8000", True),
        ("https://127.0.0.1:8000", True),
        ("https://friend.example", True),
        ("http://127.0.0.1:8001", False),
        ("http://127.0.0.1:8000.evil.example", False),
        ("http://127.0.0.1:8000@evil.example", False),
        ("https://friend.example.evil.example", False),
        ("null", False),
        ("file://127.0.0.1:8000", False),
        ("http://[", False),
    ],
)
def test_allowed_origins(origin, allowed):
    assert origin_allowed(origin, "127.0.0.1:8000", ["https://friend.example"]) is allowed


def test_rejects_an_origin_without_a_host():
    assert not origin_allowed("http://", "")
    assert not origin_allowed("http://a", None)


def test_twilio_signature_equals_the_documented_one():
    # The example of Twilio's documentation: a URL, then the fields of the form in order.
    fields = "CallSidCA1234567890ABCDECaller+14158675309Digits1234From+14158675309To+18005551212"
    signed = "https://mycompany.com/myapp.php?foo=1&bar=2" + fields
    assert twilio_signature(signed, "12345") == "RSOYDt4T1cUTdK1PDd93/VVr8B8="
