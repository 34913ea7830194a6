"""The types of single settings: units, and texts that must have a certain form.

Each validator returns the value, or raises ValueError with what it must be; the loader adds key, value and origin.
"""

import ipaddress
import re
from typing import Annotated, Any, Literal, get_args
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, GetCoreSchemaHandler, SecretStr
from pydantic_core import CoreSchema, core_schema

from config.schema import Unit
from config.user_id import checked_user_id
from config.value_text import timespan_seconds
from config.webhook_secret import webhook_secret

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_HEX_DIGEST = re.compile(r"[0-9a-fA-F]{64}")
TEN_YEARS = 3650 * 86400
_KEY_BYTES = 32
"""HS256 is only as strong as its key; RFC 7518, 3.2 asks for at least the size of the hash."""
_PASSWORD_CHARACTERS = 12
_KEY_NAME_CHARACTERS = 200


class Section(BaseModel):
    """A frozen part of the settings; unknown keys are faults."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class AnyCase:
    """Lets the words of a Literal be written in any case, as .NET reads its enums."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        words = {word.lower(): word for word in get_args(source)}

        def canonical(value: Any) -> Any:
            return words.get(value.lower(), value) if isinstance(value, str) else value

        return core_schema.no_info_before_validator_function(canonical, handler(source))


def switch_text(value: Any) -> Any:
    """Return JSON's true and false as the words of a Literal."""
    return str(value).lower() if isinstance(value, bool) else value


def _milliseconds(value: Any) -> Any:
    seconds = timespan_seconds(value) if isinstance(value, str) else None
    return value if seconds is None else round(seconds * 1000)


def _seconds(value: Any) -> Any:
    seconds = timespan_seconds(value) if isinstance(value, str) else None
    return value if seconds is None else seconds


def _split(url: str, schemes: tuple[str, ...], *, path: bool = False) -> SplitResult:
    if any(char.isspace() or not char.isprintable() for char in url):
        raise ValueError("must not contain blanks or control characters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("must have a host and a port from 0 to 65535, such as http://127.0.0.1:8080") from None
    if parts.scheme not in schemes:
        raise ValueError(f"must start with {' or '.join(f'{scheme}://' for scheme in schemes)}")
    if not parts.hostname or (port is None and parts.netloc.endswith(":")):
        raise ValueError("must name a host, such as http://127.0.0.1:8080")
    if path and ("?" in url or "#" in url):
        raise ValueError("must not contain a query or a fragment: WebSocket:Query holds the parameters")
    if not path and (parts.path not in ("", "/") or "?" in url or "#" in url):
        raise ValueError("must end after host and port: no path, no query")
    return parts


def _server_url(url: str) -> str:
    parts = _split(url, ("http", "https", "ws", "wss"), path=True)
    if parts.path not in ("", "/"):
        _namespace(parts.path.rstrip("/"))
    return url


def _namespace(name: str) -> str:
    if not name.startswith("/") or re.search(r"[\s,?#]", name):
        raise ValueError("must be a namespace such as /org: a slash and a name, without blanks and commas")
    return name


def _proxy_url(url: SecretStr) -> SecretStr:
    _split(url.get_secret_value(), ("http", "https"))
    return url


def _public_url(url: str) -> str:
    if any(mark in url for mark in "?#@"):
        raise ValueError("must not contain a user name, a query or a fragment")
    _split(url, ("http", "https"), path=True)
    return url.rstrip("/")


def _listener_url(url: str) -> str:
    if _split(url, ("http",)).username is not None:
        raise ValueError("must not contain a user name")
    return url


def _page_origin(text: str) -> str:
    return text if text == "*" else _one_origin(text)


def _one_origin(text: str) -> str:
    """Return the origin as browsers send it: in lower case, the host in ASCII, without the default port."""
    if text == "*":
        raise ValueError("must be one origin, such as https://hr.example: all origins cannot be allowed here")
    parts = _split(text, ("http", "https"))
    host = parts.hostname or ""
    if parts.username is not None or "*" in host:
        raise ValueError("must be one scheme, host and port, such as https://hr.example")
    try:
        host = host if host.isascii() else host.encode("idna").decode()
    except UnicodeError:
        raise ValueError("must have a valid host name") from None
    shown = f"[{host}]" if ":" in host else host
    default = {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{shown}" + ("" if parts.port in (None, default) else f":{parts.port}")


def _socket_path(path: str) -> str:
    if not path.strip("/") or re.search(r"[\s?#]", path):
        raise ValueError("must be a path such as /api/v1/org-socket")
    return path


def _path_base(path: str) -> str:
    plain = path.removesuffix("/")
    if plain and not re.fullmatch(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)+", plain):
        raise ValueError("must be a path such as /worker: slashes, letters, digits and . _ ~ -")
    return plain


def _call_prefix(url: str) -> str:
    if any(char.isspace() or not char.isprintable() or char == "\\" for char in url):
        raise ValueError("must not contain blanks, backslashes or control characters")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be an address such as https://api.example/hooks/")
    if "@" in parts.netloc or "?" in url or "#" in url:
        raise ValueError("must not contain a user name, a query or a fragment; secrets belong in Headers")
    if any(segment in (".", "..") for segment in parts.path.split("/")) or "%" in parts.path:
        raise ValueError("must have a plain path, without dots between slashes and without %")
    return url


def _redis_url(url: SecretStr) -> SecretStr:
    text = url.get_secret_value()
    if not text.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("must start with redis://, rediss:// or unix://")
    try:
        parts = urlsplit(text)
        has_place = bool(parts.path if parts.scheme == "unix" else parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        has_place = False
    if not has_place:
        raise ValueError("must name a host and a port from 1 to 65535, such as redis://127.0.0.1:6379/0")
    return url


def _header_name(name: str) -> str:
    if not _TOKEN.fullmatch(name):
        raise ValueError("is not a valid name of an HTTP header")
    return name


def _header_value(value: SecretStr) -> SecretStr:
    if any(ord(char) < 32 or ord(char) == 127 for char in value.get_secret_value()):
        raise ValueError("must not contain line breaks or control characters")
    return value


def _signing_secret(secret: SecretStr) -> SecretStr:
    webhook_secret(secret.get_secret_value())
    return secret


def _signing_key(key: SecretStr) -> SecretStr:
    if len(key.get_secret_value().encode("utf-8", "surrogatepass")) < _KEY_BYTES:
        raise ValueError(f"must be at least {_KEY_BYTES} bytes long")
    return key


def _long_password(password: SecretStr) -> SecretStr:
    if len(password.get_secret_value()) < _PASSWORD_CHARACTERS:
        raise ValueError(f"must be at least {_PASSWORD_CHARACTERS} characters long")
    return password


def _key_digest(value: SecretStr) -> SecretStr:
    if not _HEX_DIGEST.fullmatch(value.get_secret_value()):
        raise ValueError("must be the SHA-256 of the key, 64 hexadecimal digits, not the key itself")
    return value


def _key_name(name: str) -> str:
    if not name.strip() or not name.isprintable() or len(name) > _KEY_NAME_CHARACTERS:
        raise ValueError(f"must be 1 to {_KEY_NAME_CHARACTERS} printable characters")
    return name


def _network(text: str) -> str:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError("must be an IP address or a network such as 10.0.0.0/8") from None
    return text


def _absolute_path(path: str) -> str:
    if not path.startswith("/") or "\0" in path:
        raise ValueError("must be an absolute path: PATH is not searched, and no shell is used")
    return path


def _data_folder(path: str) -> str:
    if not path or path.startswith("/") or "\0" in path or ".." in path.split("/"):
        raise ValueError("must be a folder below Insignia:DataDirectory, such as dept-7, or . for all of it")
    return path


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as exc:
        raise ValueError(f"is not a valid regular expression: {exc}") from None
    return text


def _variable_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError("is not a valid name of an environment variable")
    return name


Milliseconds = Annotated[int, BeforeValidator(_milliseconds), Field(le=TEN_YEARS * 1000), Unit("milliseconds")]
"""A whole number of milliseconds, or a TimeSpan text such as `00:00:05`."""
Seconds = Annotated[float, BeforeValidator(_seconds), Field(le=TEN_YEARS, allow_inf_nan=False), Unit("seconds")]
"""A number of seconds, or a TimeSpan text such as `00:00:30`."""
Bytes = Annotated[int, Unit("bytes")]
Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False), Unit("percent")]

ServerUrl = Annotated[str, AfterValidator(_server_url)]
PublicUrl = Annotated[str, AfterValidator(_public_url)]
ListenerUrl = Annotated[str, AfterValidator(_listener_url)]
PageOrigin = Annotated[str, AfterValidator(_page_origin)]
"""The origin of web pages, or `*` for all."""
OneOrigin = Annotated[str, AfterValidator(_one_origin)]
UserId = Annotated[str, AfterValidator(checked_user_id)]
Namespace = Annotated[str, AfterValidator(_namespace)]
ProxyUrl = Annotated[SecretStr, AfterValidator(_proxy_url)]
PathBase = Annotated[str, AfterValidator(_path_base)]
SocketPath = Annotated[str, AfterValidator(_socket_path)]
CallPrefix = Annotated[str, AfterValidator(_call_prefix)]
"""What jobs of kind http may call: scheme, host, port and the beginning of the path."""
RedisUrl = Annotated[SecretStr, AfterValidator(_redis_url)]
HeaderName = Annotated[str, AfterValidator(_header_name)]
HeaderValue = Annotated[SecretStr, AfterValidator(_header_value)]
SigningKey = Annotated[SecretStr, AfterValidator(_signing_key)]
SigningSecret = Annotated[SecretStr, AfterValidator(_signing_secret)]
LongPassword = Annotated[SecretStr, AfterValidator(_long_password)]
KeyName = Annotated[str, AfterValidator(_key_name)]
KeyDigest = Annotated[SecretStr, AfterValidator(_key_digest)]
Network = Annotated[str, AfterValidator(_network)]
AbsolutePath = Annotated[str, AfterValidator(_absolute_path)]
DataFolder = Annotated[str, AfterValidator(_data_folder)]
Pattern = Annotated[str, AfterValidator(_pattern)]
VariableName = Annotated[str, AfterValidator(_variable_name)]
ExitCode = Annotated[int, Field(ge=0, le=255)]
JwtAlgorithm = Literal[
    "HS256", "HS384", "HS512",
    "RS256", "RS384", "RS512",
    "PS256", "PS384", "PS512",
    "ES256", "ES384", "ES512",
    "EdDSA",
]  # fmt: skip
LevelName = Literal["Trace", "Debug", "Information", "Warning", "Error", "Critical", "None"]
