"""Signed news on the native door: checked as Standard Webhooks wants it, and never sent to who did not ask."""

import base64
import hmac
import re

import orjson
import pytest
from aiohttp import ClientSession
from pydantic import SecretStr

from config.settings import HubSettings
from tests.support.hub import message, progress, running_hub
from worker.errors import UnsafeKey
from worker.hub.signing import secret_of, signature

RAW = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(RAW).decode()


@pytest.fixture
async def signing(tmp_path):
    async with running_hub(tmp_path, settings=HubSettings(signing_secret=SecretStr(SECRET))) as hub:
        yield hub


def checked(envelope):
    """The message, after a check that shares nothing with the code that signs."""
    signed = f"{envelope['id']}.{envelope['timestamp']}.{envelope['body']}".encode()
    expected = base64.b64encode(hmac.digest(RAW, signed, "sha256")).decode()
    assert envelope["signature"] == f"v1,{expected}"
    return orjson.loads(envelope["body"])


def test_the_example_of_the_specification():
    secret = secret_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    assert signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body) == (
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


async def test_who_asks_gets_news_he_can_check(signing):
    ann, publisher = await signing.native(signed=True), await signing.publisher()
    await publisher.publish(message(1, note="เครื่องราช"))
    envelope = orjson.loads(await ann.next())
    said = checked(envelope)
    assert said["type"] == "notification"
    assert said["data"]["payload"]["note"] == "เครื่องราช"
    assert envelope["id"] == "news-1"
    await publisher.publish(progress("job-1", 50))
    assert checked(orjson.loads(await ann.next()))["type"] == "progress"


async def test_a_backlog_is_signed_too_and_others_get_it_plain(signing):
    publisher, plain = await signing.publisher(), await signing.native()
    await publisher.publish(message(1))
    assert (await plain.hear())["type"] == "notification"
    await publisher.publish(message(2), "bob")
    late = await signing.native("bob", signed=True)
    assert checked(orjson.loads(await late.next()))["data"]["payload"]["notificationId"] == "news-2"


async def test_who_says_so_by_header_asks_in_the_query(signing):
    headers = {"Authorization": f"Bearer {signing.token()}"}
    publisher = await signing.publisher()
    async with ClientSession() as session, session.ws_connect(f"{signing.url}/ws?signed=true", headers=headers) as ws:
        assert (await ws.receive_json())["type"] == "welcome"
        await publisher.publish(message(1))
        assert checked(await ws.receive_json())["type"] == "notification"


async def test_a_hub_without_a_secret_says_so(tmp_path):
    async with running_hub(tmp_path) as hub:
        raw = await hub.raw("/ws")
        await raw.say("auth", {"token": hub.token(), "signed": True})
        refused = await raw.hear()
        assert refused["data"]["code"] == "unsupported"
        assert re.search("SigningSecret", refused["data"]["message"])
        await raw.say("auth", {"token": hub.token()})
        assert (await raw.hear())["type"] == "welcome"
        headers = {"Authorization": f"Bearer {hub.token()}"}
        async with ClientSession() as session, session.ws_connect(f"{hub.url}/ws?signed=true", headers=headers) as ws:
            assert (await ws.receive_json())["data"]["code"] == "unsupported"


@pytest.mark.parametrize("text", ["", "whsec_", "whsec_!!!", "whsec_c2hvcnQ=", SECRET.removeprefix("whsec_")])
def test_a_secret_that_is_none_stops_the_start(text):
    with pytest.raises(UnsafeKey, match="Hub:SigningSecret"):
        secret_of(text)
