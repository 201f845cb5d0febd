"""How many sessions a server accepts: the setting, and what its engine has space for."""

import asyncio
from contextlib import ExitStack

import pytest

from sca.config import ServeConfig
from sca.infer.server.core.errors import RequestRejectedError
from sca.infer.server.core.sessions import CLIENT, SessionRegistry


@pytest.mark.parametrize(("setting", "of_engine", "limit"), [(64, None, 64), (64, 2, 2), (3, 8, 3)])
def test_limit_is_the_smaller_one(setting, of_engine, limit):
    assert SessionRegistry(ServeConfig(max_sessions=setting), of_engine).limit == limit


def test_callers_beyond_the_slots_of_the_engine_are_refused():
    async def call():
        sessions = SessionRegistry(ServeConfig(), 2)
        with ExitStack() as opened:
            for _ in range(2):
                assert sessions.refusal() is None
                opened.enter_context(sessions.acquire("/ws/pcm16", {}))
            with pytest.raises(RequestRejectedError, match="2 sessions are open, and that is the limit") as busy:
                opened.enter_context(sessions.acquire("/ws/pcm16", {}))
        assert busy.value.status == 503
        assert sessions.refusal() is None

    asyncio.run(call())


def test_share_of_a_client_follows_the_slots():
    async def call():
        sessions = SessionRegistry(ServeConfig(), 4)
        first, second = {CLIENT: "192.0.2.1"}, {CLIENT: "192.0.2.2"}
        with ExitStack() as opened:
            for _ in range(2):
                opened.enter_context(sessions.acquire("/ws/pcm16", first))
            with pytest.raises(RequestRejectedError, match="2 sessions of this client are open"):
                opened.enter_context(sessions.acquire("/ws/pcm16", first))
            opened.enter_context(sessions.acquire("/ws/pcm16", second))

    asyncio.run(call())
