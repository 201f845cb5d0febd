"""Resume requests, client identities and resume tokens."""

import pytest

from sca.infer.server.ws.resume import (
    ResumeRejectedError,
    ResumeRequest,
    ResumeTokens,
    client_identity,
    parse_resume_request,
)


@pytest.mark.parametrize(
    ("subprotocols", "request_"),
    [
        ([], None),
        (["sca.pcm16", "sca.key.abc"], None),
        (["sca.pcm16", "sca.resume.aB-_9.17"], ResumeRequest("aB-_9", 17)),
        (["sca.resume.abc"], ResumeRequest("", 0)),
        (["sca.resume.abc.-1"], ResumeRequest("", 0)),
        (["sca.resume.abc.1.2"], ResumeRequest("", 0)),
        (["sca.resume.abc." + "9" * 16], ResumeRequest("", 0)),
        (["sca.resume.abc.١"], ResumeRequest("", 0)),
    ],
)
def test_parses_resume_requests(subprotocols, request_):
    assert parse_resume_request(subprotocols) == request_


def scope(*headers, offered=()):
    return {"headers": [(name.encode(), value.encode()) for name, value in headers], "subprotocols": list(offered)}


def test_client_identity_is_key_and_origin():
    bearer = client_identity(scope(("authorization", "Bearer k")))
    assert client_identity(scope(("authorization", "Key k"))) == bearer
    assert client_identity(scope(offered=["sca", "sca.key.aw"])) == bearer
    others = [
        client_identity(scope()),
        client_identity(scope(("authorization", "Bearer K"))),
        client_identity(scope(("authorization", "Bearer k"), ("origin", "https://a.example"))),
    ]
    assert len({bearer, *others}) == 4


def code(tokens, token, identity=b"me"):
    with pytest.raises(ResumeRejectedError) as refused:
        tokens.find(token, identity)
    return refused.value.code


def test_tokens_are_unique_and_end_with_a_reason():
    tokens, session, other = ResumeTokens(), object(), object()
    first, second, third = (tokens.issue(session, b"me") for _ in range(3))
    foreign = tokens.issue(other, b"you")
    assert len({first, second, third, foreign}) == 4
    assert min(map(len, (first, second, third))) >= 43  # 256 bits
    assert tokens.find(first, b"me") is tokens.find(third, b"me") is session
    assert code(tokens, foreign) == "resume_unknown"
    tokens.invalidate(session, "resume_used", keep=third)
    assert [code(tokens, one) for one in (first, second)] == ["resume_used", "resume_used"]
    assert tokens.find(third, b"me") is session
    tokens.invalidate(session, "resume_expired")
    assert code(tokens, third) == "resume_expired"
    assert tokens.find(foreign, b"you") is other


def test_invalid_tokens_are_bounded():
    tokens = ResumeTokens()
    sessions = [object() for _ in range(1500)]
    old = [tokens.issue(session, b"me") for session in sessions]
    for session in sessions:
        tokens.invalidate(session, "resume_expired")
    assert code(tokens, old[-1]) == "resume_expired"
    assert code(tokens, old[0]) == "resume_unknown"
