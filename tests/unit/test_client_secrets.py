"""Client secrets: their life, their limit, and where they are accepted."""

import pytest

from sca.infer.server.core.client_secrets import ClientSecrets
from sca.infer.server.core.errors import RequestRejectedError


class Clock:
    now_s = 1000.0

    def __call__(self):
        return self.now_s


def test_secret_is_valid_until_it_expires():
    clock = Clock()
    secrets = ClientSecrets(clock)
    secret = secrets.create({"instructions": "Be brief."}, 60)
    assert secret.value.startswith("ek_")
    assert secret.expires_at == 1060
    assert secret.value not in repr(secret)
    for _ in range(2):  # for any number of sessions
        assert secrets.find(secret.value).session == {"instructions": "Be brief."}
    clock.now_s = 1060.0
    assert secrets.find(secret.value) is None


@pytest.mark.parametrize("value", [None, "", "ek_", "ek_" + "0" * 48, "key", "ek_é"])
def test_other_values_are_no_secrets(value):
    secrets = ClientSecrets()
    secrets.create({}, 60)
    assert secrets.find(value) is None


def test_number_of_secrets_is_limited():
    clock = Clock()
    secrets = ClientSecrets(clock)
    first = secrets.create({}, 10)
    for _ in range(999):
        secrets.create({}, 600)
    with pytest.raises(RequestRejectedError, match="1000 client secrets") as rejected:
        secrets.create({}, 600)
    assert rejected.value.status == 429
    clock.now_s = first.expires_at
    assert secrets.find(secrets.create({}, 600).value) is not None
