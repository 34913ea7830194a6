"""Signed messages of native clients: verified as Standard Webhooks requires, and sent only on request."""

import base64
import hmac
import re

import orjson
import pytest
from aiohttp import ClientSession
from pydantic import SecretStr, ValidationError

from config.hub_settings import HubSettings
from config.webhook_secret import webhook_secret
from tests.support.hub import message, progress, running_hub
from worker.hub.connection_limits import ConnectionLimits
from worker.hub.native.signing import signature

RAW = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(RAW).decode()


@pytest.fixture
async def signing(tmp_path):
    async with running_hub(tmp_path, settings=HubSettings(signing_secret=SecretStr(SECRET))) as hub:
        yield hub


def checked(envelope):
    """The message, after a verification that shares no code with the signing side."""
    signed = f"{envelope['id']}.{envelope['timestamp']}.{envelope['body']}".encode()
    expected = base64.b64encode(hmac.digest(RAW, signed, "sha256")).decode()
    assert envelope["signature"] == f"v1,{expected}"
    return orjson.loads(envelope["body"])


def test_signature_of_the_specifications_example_is_the_same():
    secret = webhook_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    assert signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body) == (
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


async def test_client_that_asks_for_signatures_can_verify_messages(signing):
    ann, publisher = await signing.native(signed=True), await signing.publisher()
    await publisher.publish(message(1, note="เครื่องราช"))
    envelope = orjson.loads(await ann.next())
    said = checked(envelope)
    assert said["type"] == "notification"
    assert said["data"]["payload"]["note"] == "เครื่องราช"
    assert envelope["id"] == "news-1"
    await publisher.publish(progress("job-1", 50))
    assert checked(orjson.loads(await ann.next()))["type"] == "progress"


async def test_replay_is_signed_only_for_the_client_that_asked(signing):
    publisher, plain = await signing.publisher(), await signing.native()
    await publisher.publish(message(1))
    assert (await plain.next_native())["type"] == "notification"
    await publisher.publish(message(2), "bob")
    late = await signing.native("bob", signed=True)
    assert checked(orjson.loads(await late.next()))["data"]["payload"]["notificationId"] == "news-2"


async def test_client_with_a_header_token_asks_for_signatures_in_the_query(signing):
    headers = {"Authorization": f"Bearer {signing.token()}"}
    publisher = await signing.publisher()
    async with ClientSession() as session, session.ws_connect(f"{signing.url}/ws?signed=true", headers=headers) as ws:
        assert (await ws.receive_json())["type"] == "welcome"
        await publisher.publish(message(1))
        assert checked(await ws.receive_json())["type"] == "notification"


async def test_signatures_of_a_hub_without_a_secret_are_unsupported(tmp_path):
    async with running_hub(tmp_path) as hub:
        raw = await hub.raw("/ws")
        await raw.send_native("auth", {"token": hub.token(), "signed": True})
        refused = await raw.next_native()
        assert refused["data"]["code"] == "unsupported"
        assert re.search("SigningSecret", refused["data"]["message"])
        await raw.send_native("auth", {"token": hub.token()})
        assert (await raw.next_native())["type"] == "welcome"
        headers = {"Authorization": f"Bearer {hub.token()}"}
        async with ClientSession() as session, session.ws_connect(f"{hub.url}/ws?signed=true", headers=headers) as ws:
            assert (await ws.receive_json())["data"]["code"] == "unsupported"


async def test_auth_that_asks_for_the_impossible_changes_nothing(tmp_path):
    """Neither the anonymous client that sends it, nor the user's oldest connection that it would replace."""
    limits = ConnectionLimits(per_user=1, evict_oldest=True)
    async with running_hub(tmp_path, settings=HubSettings(anonymous=True), connection_limits=limits) as hub:
        ann, visitor = await hub.browser("ann"), await hub.raw("/ws")
        await visitor.next_native("welcome")
        await visitor.send_native("auth", {"token": hub.token("ann"), "signed": True})
        assert (await visitor.next_native("error"))["data"]["code"] == "unsupported"
        assert await ann.received_so_far() == []
        await visitor.send_native("broadcast", {"text": "still here"})
        assert (await visitor.next_native("broadcast"))["data"]["text"] == "still here"
        assert len(hub.hub.hub.clients) == 2


@pytest.mark.parametrize(
    "text", ["", "whsec_", "whsec_!!!", "whsec_c2hvcnQ=", "whsec_ก", SECRET.removeprefix("whsec_")]
)
def test_signing_secret_of_a_wrong_form_is_a_fault_of_the_settings(text):
    with pytest.raises(ValidationError, match="must be whsec_ and base64"):
        HubSettings(signing_secret=SecretStr(text))
