"""Who may ask a server: a key carried by a WebSocket subprotocol, and pages from elsewhere."""

import base64

import pytest

from sca.infer.server.core.security import KEY_PROTOCOL, key_matches, origin_allowed, protocol_key, twilio_signature


def offer(key):
    return KEY_PROTOCOL + base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")


@pytest.mark.parametrize("key", ["k", "a longer key", "?>~~\xff", "ключ"])
def test_a_key_travels_in_a_subprotocol(key):
    given = protocol_key(["realtime", offer(key)])
    assert key_matches(given, key)
    assert not key_matches(given, key + "x")


@pytest.mark.parametrize(
    "offered", [[], ["realtime"], [KEY_PROTOCOL + "a"], [KEY_PROTOCOL + "!!!!"], [KEY_PROTOCOL + "é"]]
)
def test_what_holds_no_key_gives_none(offered):
    assert protocol_key(offered) is None
    assert not key_matches(protocol_key(offered), "k")


@pytest.mark.parametrize(
    ("origin", "may"),
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
def test_pages_from_elsewhere_are_kept_out(origin, may):
    assert origin_allowed(origin, "127.0.0.1:8000", ["https://friend.example"]) is may


def test_an_origin_without_a_host_to_compare_is_kept_out():
    assert not origin_allowed("http://", "")
    assert not origin_allowed("http://a", None)


def test_signatures_are_those_of_twilio():
    # The example of its documentation: a URL, then the form's fields in order.
    fields = "CallSidCA1234567890ABCDECaller+14158675309Digits1234From+14158675309To+18005551212"
    signed = "https://mycompany.com/myapp.php?foo=1&bar=2" + fields
    assert twilio_signature(signed, "12345") == "RSOYDt4T1cUTdK1PDd93/VVr8B8="
