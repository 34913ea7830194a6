"""The settings models: defaults, bounds, spellings."""

import pickle
from typing import Any

import pytest
from pydantic import ValidationError

from config.hub_settings import HubSettings
from config.link_settings import WebSocketSettings
from config.merge import key_text
from config.schema import LeafShape, MapOf, shape_of, walk
from config.settings import Settings


def _of(tree: dict[str, Any]) -> Settings:
    return Settings(**tree)


def test_settings_without_arguments_ignore_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Settings()
    for name in ("WebSocket__Url", "WEB_SOCKET", "web_socket", "WEBSOCKET__URL", "QUEUE", "LOGGING"):
        monkeypatch.setenv(name, '{"url": "http://elsewhere"}')
    assert Settings() == plain
    assert plain.web_socket.url == "http://127.0.0.1:8080"


def test_sections_are_accepted_as_models_by_field_or_key() -> None:
    expected = WebSocketSettings(url="http://hub:9")
    assert Settings(web_socket=expected).web_socket == expected
    assert _of({"WebSocket": {"url": "http://hub:9"}}).web_socket == expected
    assert _of({"web_socket": {"url": "http://hub:9"}}).web_socket == expected


def test_settings_are_frozen_and_can_be_pickled() -> None:
    settings = _of({"WebSocket": {"Token": "t0ken"}, "Worker": {"Execution": {"mail": "THREAD"}}})
    with pytest.raises(ValidationError):
        settings.web_socket.url = "http://other"  # type: ignore[misc]  # frozen, as the test shows
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_unknown_field_is_rejected() -> None:
    with pytest.raises(ValidationError):
        _of({"WebSocket": {"Nonsense": 1}})


def test_every_key_has_a_description() -> None:
    silent = [key_text(path) for path, key in walk(shape_of(Settings)) if not key.info.description]
    assert silent == []


@pytest.mark.parametrize(("key", "unit"), [("HeartbeatInterval", "seconds"), ("HeartbeatTimeout", "seconds")])
def test_key_without_a_default_keeps_its_unit(key: str, unit: str) -> None:
    shape = shape_of(HubSettings).keys[key.lower()].shape
    assert isinstance(shape, LeafShape)
    assert shape.unit == unit


def test_secret_keys_are_exactly_these() -> None:
    leaves = {key_text(path): key.shape for path, key in walk(shape_of(Settings))}
    secret = {key for key, shape in leaves.items() if isinstance(shape, LeafShape) and shape.secret}
    secret |= {key for key, shape in leaves.items() if isinstance(shape, MapOf) and shape.item.secret}
    assert secret == {
        "WebSocket:Token",
        "WebSocket:Headers",
        "WebSocket:Query",
        "WebSocket:Proxy",
        "Queue:ConnectionString",
        "Hub:Jwt:Key",
        "Hub:Jwt:Keys:N:Key",
        "Hub:Redis",
        "Hub:SigningSecret",
        "Hub:AdminUi:Password",
        "Http:ApiKeys:N:Sha256",
        "Handlers:Http:Allow:N:Headers",
        "Handlers:Command:Programs:N:Secrets",
    }


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("00:00:05", 5000), ("00:01", 60000), ("1.00:00:00", 86400000), ("00:00:00.25", 250), ("1500", 1500)],
)
def test_duration_accepts_a_time_span(text: str, milliseconds: int) -> None:
    assert _of({"WebSocket": {"Timeout": text}}).web_socket.timeout == milliseconds


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("WebSocket", "ReconnectionDelay", -1),
        ("WebSocket", "Timeout", 0),
        ("WebSocket", "Timeout", 10**15),
        ("WebSocket", "Url", "hub:8080"),
        ("WebSocket", "Url", "ftp://hub"),
        ("WebSocket", "Url", "http://"),
        ("WebSocket", "Url", "http://hub:99999"),
        ("WebSocket", "Url", "http://hub:http"),
        ("WebSocket", "Url", "http://hub/a,b"),
        ("WebSocket", "Url", "http://hub?token=1"),
        ("WebSocket", "Url", "http://hub/org?token=1"),
        ("WebSocket", "Namespace", "org"),
        ("WebSocket", "Proxy", "proxy:3128"),
        ("WebSocket", "Transports", []),
        ("WebSocket", "EngineIo", "5"),
        ("WebSocket", "Url", "http://hub\n"),
        ("WebSocket", "Path", "/"),
        ("WebSocket", "Path", "/a?b"),
        ("WebSocket", "Event", ""),
        ("WebSocket", "Confirmation", "maybe"),
        ("WebSocket", "Headers", {"X Y": "v"}),
        ("WebSocket", "Headers", {"X": "a\r\nInjected: b"}),
        ("Worker", "Concurrency", "1.5"),
        ("HostOptions", "ShutdownTimeout", "inf"),
        ("HostOptions", "ShutdownTimeout", "nan"),
        ("Insignia", "BadRowLimit", 101),
        ("Insignia", "BadRowLimit", "nan"),
        ("Hub", "Enabled", "sometimes"),
        ("Hub", "Jwt", {"Key": "x" * 31}),
        ("Http", "Url", "https://127.0.0.1:8443"),
        ("Http", "Url", "http://user@127.0.0.1"),
        ("Http", "Url", "http://127.0.0.1:"),
        ("Http", "TrustedProxies", ["proxy"]),
        ("Http", "AdminUrl", "https://127.0.0.1:8081"),
        *(
            (section, key, [origin])
            for section, key in (("Http", "CorsOrigins"), ("Hub", "AllowedOrigins"))
            for origin in (
                *("null", "hr.example", "https://*.hr.example", "ftp://hr.example", "https://u@hr.example"),
                *(
                    "https://hr.example?a",
                    "https://hr.example/portal",
                    "https://hr.example:x",
                    "https://",
                    "",
                    "https://ก..example",
                ),
            )
        ),
        ("Hub", "AllowedOrigins", ["*"]),
        *(
            (section, key, value)
            for id_ in ("", "a\nb", "a\u200bb", "a\u202eb", "a\u2028b", "a\0", "x" * 257)
            for section, key, value in (
                ("WebSocket", "DefaultUserId", id_),
                ("Http", "ApiKeys", [{"Name": "x", "Sha256": "0" * 64, "Users": [id_]}]),
            )
        ),
        ("Http", "RateLimit", -1),
        ("Http", "FailedLogins", 0),
        ("Http", "ApiKeys", [{"Name": "x", "Sha256": "the key itself"}]),
        ("Http", "ApiKeys", [{"Sha256": "0" * 64}]),
        ("Handlers", "Http", {"Allow": [{"Url": "api.example"}]}),
        ("Handlers", "Http", {"Allow": [{"Url": "https://user:pw@api.example/"}]}),
        ("Handlers", "Http", {"Allow": [{"Url": "https://api.example/?key=1"}]}),
        ("Handlers", "Http", {"Allow": [{"Url": "https://api.example/in/../out"}]}),
        ("Handlers", "Http", {"Allow": [{"Url": "https://api.example/", "Networks": ["office"]}]}),
        ("Handlers", "Http", {"Allow": [{"Url": "https://api.example/", "Headers": {"A": "b\nc"}}]}),
        ("Handlers", "Command", {"Programs": [{"Name": "x", "Path": "bin/x"}]}),
        ("Handlers", "Command", {"Programs": [{"Name": "x", "Path": "/x", "Patterns": ["("]}]}),
        ("Handlers", "Command", {"Programs": [{"Name": "x", "Path": "/x", "Environment": {"A=B": "c"}}]}),
        ("Handlers", "Command", {"Programs": [{"Name": "x", "Path": "/x", "SuccessCodes": [256]}]}),
    ],
)
def test_invalid_value_is_rejected_with_what_it_must_be(section: str, key: str, value: Any) -> None:
    with pytest.raises(ValidationError):
        _of({section: {key: value}})


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("WebSocket", "Url", "WSS://hub.example/"),
        ("WebSocket", "Url", "http://[::1]:8080"),
        ("Http", "Url", "http://*:8080"),
        ("Http", "Url", "http://127.0.0.1:0"),
        ("Http", "TrustedProxies", ["10.0.0.0/8", "::1"]),
        ("Http", "AdminUrl", "http://127.0.0.1:8081"),
        ("Http", "CorsOrigins", ["https://HR.example:8443", "*"]),
        ("Hub", "Jwt", {"Key": "ก" * 11}),
        ("Http", "ApiKeys", [{"Name": "x", "Sha256": "aB" * 32, "Scopes": ["ADMIN"]}]),
        ("Handlers", "Http", {"Allow": [{"Url": "https://ไทย.example/งาน/", "Networks": ["10.0.0.0/8"]}]}),
        ("Handlers", "Command", {"Programs": [{"Name": "รายงาน", "Path": "/opt/รายงาน", "Encoding": "CP874"}]}),
    ],
)
def test_valid_value_is_accepted(section: str, key: str, value: Any) -> None:
    _of({section: {key: value}})


@pytest.mark.parametrize(("given", "meant"), [(True, "true"), (False, "false"), ("True", "true"), ("AUTO", "auto")])
def test_hub_enabled_accepts_words_and_booleans(given: object, meant: str) -> None:
    assert _of({"Hub": {"Enabled": given}}).hub.enabled == meant


def test_log_level_of_one_category_keeps_the_default_level() -> None:
    assert _of({"Logging": {"LogLevel": {"worker": "debug"}}}).logging.log_level == {
        "Default": "Information",
        "worker": "Debug",
    }


@pytest.mark.parametrize(
    ("written", "as_browsers_send_it"),
    [
        ("https://hr.example", "https://hr.example"),
        ("https://HR.example/", "https://hr.example"),
        ("https://hr.example:443", "https://hr.example"),
        ("http://hr.example:80", "http://hr.example"),
        ("http://hr.example:443", "http://hr.example:443"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("https://ไทย.example", "https://xn--o3cw4h.example"),
    ],
)
def test_origin_is_kept_as_browsers_send_it(written: str, as_browsers_send_it: str) -> None:
    settings = _of({"Http": {"CorsOrigins": [written]}, "Hub": {"AllowedOrigins": [written]}})
    assert settings.http.cors_origins == settings.hub.allowed_origins == (as_browsers_send_it,)
