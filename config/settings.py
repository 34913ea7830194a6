"""The settings tree: every key with its type, bound, default, unit and one line of meaning.

Fields are snake_case here and PascalCase outside (`reconnection_delay` is `WebSocket:ReconnectionDelay`).
Knows no file and no variable: what the layers come to is bound here by the one source pydantic-settings is given.
"""

import ipaddress
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args
from urllib.parse import SplitResult, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    SecretStr,
)
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, core_schema
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from config.shape import Unit, inside, shape_of

_TIMESPAN = re.compile(r"(-)?(?:(\d+)\.)?(\d{1,2}):([0-5]?\d)(?::([0-5]?\d)(?:\.(\d{1,7}))?)?")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_HEX_DIGEST = re.compile(r"[0-9a-fA-F]{64}")
_TEN_YEARS = 3650 * 86400


def _timespan_seconds(text: str) -> float | None:
    """.NET's TimeSpan text `[d.]hh:mm[:ss[.fffffff]]` in seconds; None when it is none."""
    match = _TIMESPAN.fullmatch(text.strip())
    if match is None:
        return None
    sign, days, hours, minutes, seconds, fraction = match.groups()
    total = int(days or 0) * 86400 + int(hours) * 3600 + int(minutes) * 60 + int(seconds or 0)
    return (-1 if sign else 1) * (total + float(f"0.{fraction or 0}"))


def _milliseconds(value: Any) -> Any:
    seconds = _timespan_seconds(value) if isinstance(value, str) else None
    return value if seconds is None else round(seconds * 1000)


def _seconds(value: Any) -> Any:
    seconds = _timespan_seconds(value) if isinstance(value, str) else None
    return value if seconds is None else seconds


Milliseconds = Annotated[int, BeforeValidator(_milliseconds), Field(le=_TEN_YEARS * 1000), Unit("milliseconds")]
"""A whole number of milliseconds, or a TimeSpan text such as `00:00:05`."""
Seconds = Annotated[float, BeforeValidator(_seconds), Field(le=_TEN_YEARS, allow_inf_nan=False), Unit("seconds")]
"""A number of seconds, or a TimeSpan text such as `00:00:30`."""
Bytes = Annotated[int, Unit("bytes")]
Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False), Unit("percent")]


class _AnyCase:
    """Lets the words of a Literal be written in any case, as .NET reads its enums."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        words = {word.lower(): word for word in get_args(source)}

        def spelled(value: Any) -> Any:
            return words.get(value.lower(), value) if isinstance(value, str) else value

        return core_schema.no_info_before_validator_function(spelled, handler(source))


def _split(url: str, schemes: tuple[str, ...]) -> SplitResult:
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
    if parts.path not in ("", "/") or "?" in url or "#" in url:
        raise ValueError("must end after host and port: no path, no query")
    return parts


def _server_url(url: str) -> str:
    _split(url, ("http", "https", "ws", "wss"))
    return url


def _listener_url(url: str) -> str:
    if _split(url, ("http",)).username is not None:
        raise ValueError("must not hold a user name")
    return url


def _origin(text: str) -> str:
    if text != "*" and _split(text, ("http", "https")).path:
        raise ValueError("must end after host and port, without a slash")
    return text.lower()


def _socket_path(path: str) -> str:
    if not path.strip("/") or re.search(r"[\s?#]", path):
        raise ValueError("must be a path such as /api/v1/org-socket")
    return path


def _header_name(name: str) -> str:
    if not _TOKEN.fullmatch(name):
        raise ValueError("is no name for an HTTP header")
    return name


def _header_value(value: SecretStr) -> SecretStr:
    if any(ord(char) < 32 or ord(char) == 127 for char in value.get_secret_value()):
        raise ValueError("must not contain line breaks or control characters")
    return value


def _signing_key(key: SecretStr) -> SecretStr:
    # HS256 is only as strong as its key; RFC 7518, 3.2 asks for at least the size of the hash.
    if len(key.get_secret_value().encode("utf-8", "surrogatepass")) < 32:
        raise ValueError("must be at least 32 bytes long")
    return key


def _long_password(password: SecretStr) -> SecretStr:
    if len(password.get_secret_value()) < 12:
        raise ValueError("must be at least 12 characters long")
    return password


def _digest(value: SecretStr) -> SecretStr:
    if not _HEX_DIGEST.fullmatch(value.get_secret_value()):
        raise ValueError("must be the SHA-256 of the key, 64 hexadecimal digits, not the key itself")
    return value


def _network(text: str) -> str:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError("must be an IP address or a network such as 10.0.0.0/8") from None
    return text


def _switch(value: Any) -> Any:
    """JSON's true and false beside the words."""
    return str(value).lower() if isinstance(value, bool) else value


def _redis_url(url: SecretStr) -> SecretStr:
    if not url.get_secret_value().startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("must start with redis://, rediss:// or unix://")
    return url


def _call_prefix(url: str) -> str:
    """What jobs may call: scheme, host, port and the beginning of the path."""
    if any(char.isspace() or not char.isprintable() or char == "\\" for char in url):
        raise ValueError("must not contain blanks, backslashes or control characters")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be an address such as https://api.example/hooks/")
    if "@" in parts.netloc or "?" in url or "#" in url:
        raise ValueError("must not hold a user name, a query or a fragment; secrets belong in Headers")
    if any(segment in (".", "..") for segment in parts.path.split("/")) or "%" in parts.path:
        raise ValueError("must have a plain path, without dots between slashes and without %")
    return url


def _absolute_path(path: str) -> str:
    if not path.startswith("/") or "\0" in path:
        raise ValueError("must be an absolute path: nothing is looked up in PATH, and no shell is asked")
    return path


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as exc:
        raise ValueError(f"is no regular expression: {exc}") from None
    return text


def _variable_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError("is no name for an environment variable")
    return name


class Section(BaseModel):
    """A frozen part of the tree; unknown keys are faults."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class WebSocketSettings(Section):
    """The link to the org-socket server. Durations are milliseconds, as in the original."""

    url: Annotated[str, AfterValidator(_server_url)] = Field(
        "http://127.0.0.1:8080", description="Address of the Socket.IO server; http, https, ws or wss"
    )
    path: Annotated[str, AfterValidator(_socket_path)] = Field(
        "/api/v1/org-socket", description="Path of the Socket.IO endpoint on that server"
    )
    default_user_id: str | None = Field(
        None, min_length=1, description="User of jobs that name none; without it such a job is refused at intake"
    )
    reconnection_delay: Milliseconds = Field(
        1000, ge=0, description="First pause before a reconnect; doubles with each attempt, jitter ±50 %"
    )
    reconnection_attempts: int = Field(
        5, ge=0, description="Attempts before the link is called failed and TaskDelayOnError is waited; 0 = endless"
    )
    timeout: Milliseconds = Field(
        20000, gt=0, description="One whole attempt to connect: TCP, TLS, upgrade, OPEN and CONNECT"
    )
    auto_reconnect: bool = Field(True, description="Come back by itself after a lost connection")
    task_delay_on_error: Milliseconds = Field(
        5000, ge=0, description="Pause of the job loop after an unexpected error, and of a link that has failed"
    )
    max_reconnection_delay: Milliseconds = Field(30000, ge=0, description="Longest pause before a reconnect")
    min_uptime: Milliseconds = Field(
        5000, ge=0, description="How long a connection must have lasted before the pauses start afresh"
    )
    slow_retry_delay: Milliseconds = Field(
        300000, ge=0, description="Pause after the server refused us or told us to slow down"
    )
    event: str = Field("socket-notification", min_length=1, description="Name of the event that carries a notification")
    confirmation: Annotated[Literal["auto", "ack", "fence", "heartbeat", "none"], _AnyCase()] = Field(
        "auto", description="What proves that a notification was received"
    )
    ack_timeout: Milliseconds = Field(10000, gt=0, description="How long the proof of receipt may take")
    window: int = Field(256, ge=1, le=10000, description="Notifications on the way without proof, at most")
    token: SecretStr | None = Field(None, description="Sent in the auth of the connection")
    token_file: str | None = Field(None, description="File with the token, read at each attempt to connect")
    headers: Mapping[
        Annotated[str, AfterValidator(_header_name)], Annotated[SecretStr, AfterValidator(_header_value)]
    ] = Field(default_factory=dict, description="Further HTTP headers of the connection, name and value")
    verify_tls: bool = Field(True, description="Check the server's certificate; false only in Development")
    ca_file: str | None = Field(None, description="PEM file of the authorities to trust in place of the system's")
    max_payload: Bytes = Field(
        1_000_000, ge=1024, description="Largest notification; the server's own limit holds where it is smaller"
    )
    include_stack_trace: bool = Field(True, description="Send the stack trace of a failed job along")
    include_result: bool = Field(False, description="Send the handler's summary along")
    progress: bool = Field(False, description='Also send "Task Progress" while a job runs')


class WorkerSettings(Section):
    """How jobs are run. Durations are milliseconds."""

    concurrency: int = Field(10, ge=1, le=10000, description="Jobs run at once")
    processes: int = Field(2, ge=1, le=256, description="Child processes for handlers that need one of their own")
    handlers: tuple[str, ...] = Field((), description="Python modules with further handlers")
    max_attempts: int = Field(3, ge=1, le=1000, description="Attempts before a job has failed, if it names no other")
    backoff_delay: Milliseconds = Field(
        5000, ge=0, description="Pause before the second attempt; doubles with each further one, jitter ±50 %"
    )
    max_backoff_delay: Milliseconds = Field(300000, ge=0, description="Longest pause between two attempts")
    timeout: Milliseconds = Field(
        3600000, gt=0, description="Longest time for one attempt, if the handler names no other"
    )
    execution: Mapping[str, Annotated[Literal["async", "thread", "process"], _AnyCase()]] = Field(
        default_factory=dict, description="How a job kind is run: async, thread or process"
    )


class QueueSettings(Section):
    """Where jobs and notifications lie."""

    provider: Annotated[Literal["sqlite"], _AnyCase()] = Field("sqlite", description="The store's engine")
    connection_string: SecretStr | None = Field(None, description="Of a database server; sqlite takes Path instead")
    path: str = Field("queue.db", min_length=1, description="The store's file; relative to the state directory")
    max_bytes: Bytes = Field(10 * 1024**3, ge=1024**2, description="Size at which intake is refused and claiming stops")
    retention: Milliseconds = Field(
        30 * 86400 * 1000, gt=0, description="How long jobs that have ended are kept, once their news is delivered"
    )
    audit_retention: Milliseconds = Field(
        365 * 86400 * 1000, gt=0, description="How long it is kept who did what by hand"
    )


_Rsa = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]
JwtAlgorithm = Literal["HS256", "HS384", "HS512", _Rsa, "ES256", "ES384", "ES512", "EdDSA"]


class JwtKeySettings(Section):
    """A further key that tokens may be signed with: another issuer's, or the one before or after a rotation."""

    kid: str = Field(min_length=1, description="The token's kid that chooses it")
    algorithm: Literal[
        "HS256",
        "HS384",
        "HS512",
        "RS256",
        "RS384",
        "RS512",
        "PS256",
        "PS384",
        "PS512",
        "ES256",
        "ES384",
        "ES512",
        "EdDSA",
    ] = Field(description="The only algorithm it may be used with")
    key: SecretStr | None = Field(None, description="HS: the secret; else the public key, PEM")
    file: str | None = Field(None, min_length=1, description="File with the key, in place of Key")


class JwtSettings(Section):
    """Tokens of the hub's clients."""

    key: Annotated[SecretStr, AfterValidator(_signing_key)] | None = Field(
        None, description="Signs the tokens with HS256, at least 32 bytes; without it the first start makes one"
    )
    keys: tuple[JwtKeySettings, ...] = Field((), description="Further keys, chosen by the token's kid")
    issuer: str = Field("insignia-worker", min_length=1, description="Who issues the tokens, their iss")
    audience: str = Field("org-socket", min_length=1, description="Whom the tokens are for, their aud")


class AdminUiSettings(Section):
    """The page @socket.io/admin-ui, which shows who is connected."""

    enabled: bool = Field(False, description="Serve the namespace the page asks for")
    namespace: str = Field("/admin", pattern=r"^/[\w./-]{1,100}$", description="Its name")
    username: str = Field("admin", min_length=1, description="Name for the page's login")
    password: Annotated[SecretStr, AfterValidator(_long_password)] | None = Field(
        None, description="Its password, at least 12 characters; without it only hub tokens of scope admin are let in"
    )
    read_only: bool = Field(True, description="Only look; false lets the page disconnect clients")


class HubSettings(Section):
    """The built-in org-socket server."""

    enabled: Annotated[Literal["auto", "true", "false"], _AnyCase(), BeforeValidator(_switch)] = Field(
        "auto", description="auto = on when WebSocket:Url names our own port on this machine"
    )
    jwt: JwtSettings = Field(JwtSettings(), description="Tokens of the hub's clients")
    inbox_path: str = Field(
        "hub.db", min_length=1, description="File of what users have not received yet; relative to the state directory"
    )
    redis: Annotated[SecretStr, AfterValidator(_redis_url)] | None = Field(
        None, description="Address of the Redis that several hubs share as their inbox, in place of InboxPath"
    )
    signing_secret: SecretStr | None = Field(
        None, description="Signs the news of native clients that ask for it (Standard Webhooks): whsec_ and base64"
    )
    stack_trace_to_users: bool = Field(
        False, description="Pass stack traces on to every receiver, not to those with scope admin alone"
    )
    admin_ui: AdminUiSettings = Field(AdminUiSettings(), description="The page @socket.io/admin-ui")
    open_rooms: bool = Field(True, description="Let authenticated clients make rooms of their own on /ws")
    allowed_origins: tuple[str, ...] = Field(
        (), description="Origins besides our own whose pages may connect, as https://hr.example"
    )
    max_connections: int = Field(10_000, ge=1, description="Connections in all")
    max_connections_per_user: int = Field(50, ge=1, description="Connections of one user")
    max_connections_per_address: int = Field(1_000, ge=1, description="Connections from one address")


class ApiKeySettings(Section):
    """A key for the HTTP API."""

    name: str = Field(min_length=1, description="Whose key it is; for logs")
    sha256: Annotated[SecretStr, AfterValidator(_digest)] = Field(
        description="SHA-256 of the key, 64 hexadecimal digits; the key itself is stored nowhere"
    )
    scopes: tuple[Annotated[Literal["enqueue", "read", "admin"], _AnyCase()], ...] = Field(
        ("read",), description="What it allows: enqueue, read, admin"
    )
    users: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        (), description="Users whose jobs it sees and submits; empty: everybody's"
    )
    organizations: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        (), description="Organisations whose jobs it sees and submits, by the payload's organization; empty: all"
    )


class HttpSettings(Section):
    """The one port: hub, HTTP API, health."""

    url: Annotated[str, AfterValidator(_listener_url)] = Field(
        "http://127.0.0.1:8080", description="Where to listen; beyond loopback only behind TrustedProxies"
    )
    admin_url: Annotated[str, AfterValidator(_listener_url)] | None = Field(
        None, description="A second address to listen on; then dashboard and administration answer there alone"
    )
    api_keys: tuple[ApiKeySettings, ...] = Field((), description="Keys of the HTTP API")
    allowed_hosts: tuple[str, ...] = Field((), description="Host names requests may be addressed to; empty: any")
    cors_origins: tuple[Annotated[str, AfterValidator(_origin)], ...] = Field(
        (), description="Origins whose pages may call the API with a key of their own, as https://hr.example; * = all"
    )
    rate_limit: int = Field(
        0, ge=0, le=1_000_000, description="Requests per second of one caller, bursts of twice as many; 0 = no limit"
    )
    failed_logins: int = Field(
        20, ge=1, le=100_000, description="Unknown keys per minute from one address, before no more are looked at"
    )
    trusted_proxies: tuple[Annotated[str, AfterValidator(_network)], ...] = Field(
        (), description="Addresses or networks of the proxies whose forwarded headers are believed"
    )
    max_body: Bytes = Field(16 * 1024 * 1024, ge=1024, description="Largest body of a request")


class InsigniaSettings(Section):
    """The insignia job."""

    criteria_path: str | None = Field(None, description="Own criteria file in place of the one that comes along")
    data_directory: str = Field(
        "rosters", min_length=1, description="Where rosters lie; relative to the state directory"
    )
    output_directory: str = Field(
        "results", min_length=1, description="Where results are written; relative to the state directory"
    )
    sequence: Annotated[Literal["highest_satisfied", "strict_next"], _AnyCase()] | None = Field(
        None, description="Which class to propose; without it the criteria file decides"
    )
    bad_row_limit: Percent = Field(5.0, description="Share of unreadable rows above which a roster is refused")


class UploadsSettings(Section):
    """Files that come with a job; they lie in uploads/ below Insignia:DataDirectory, and go with their job."""

    max_bytes: Bytes = Field(64 * 1024**2, ge=1, le=256 * 1024**2, description="Largest upload, all its files together")
    total_bytes: Bytes = Field(10 * 1024**3, ge=1, description="All uploads that are kept; beyond it none is taken")


class HttpTargetSettings(Section):
    """Addresses that jobs of kind http may call, and what is sent there."""

    url: Annotated[str, AfterValidator(_call_prefix)] = Field(
        description="Beginning of the addresses, as https://api.example/hooks/; ends at a / of the path"
    )
    headers: Mapping[
        Annotated[str, AfterValidator(_header_name)], Annotated[SecretStr, AfterValidator(_header_value)]
    ] = Field(default_factory=dict, description="Sent there and nowhere else: keys and tokens belong here")
    networks: tuple[Annotated[str, AfterValidator(_network)], ...] = Field(
        (), description="Networks it may lie in besides the public Internet, as 10.0.0.0/8"
    )


class HttpHandlerSettings(Section):
    """Jobs of kind http."""

    allow: tuple[HttpTargetSettings, ...] = Field((), description="What may be called; empty: the kind is off")
    timeout: Milliseconds = Field(30000, gt=0, description="Longest time for one call, redirects included")
    max_answer: Bytes = Field(
        65536, ge=0, le=4 * 1024**2, description="What is kept of an answer's body; the rest is not read"
    )
    max_redirects: int = Field(5, ge=0, le=20, description="Redirects that are followed; each must be allowed itself")
    ca_file: str | None = Field(None, description="PEM file of the authorities to trust in place of the system's")


ExitCode = Annotated[int, Field(ge=0, le=255)]


class ProgramSettings(Section):
    """A program that jobs of kind command may run."""

    name: str = Field(min_length=1, max_length=100, description="What the payload calls it")
    path: Annotated[str, AfterValidator(_absolute_path)] = Field(description="The program, an absolute path")
    arguments: tuple[str, ...] = Field((), description="Arguments that always come first")
    patterns: tuple[Annotated[str, AfterValidator(_pattern)], ...] = Field(
        (), description="What the payload's arguments must be as a whole, one regular expression for each place"
    )
    max_arguments: int | None = Field(
        None,
        ge=0,
        le=1000,
        description="Arguments in the payload, at most; the last pattern holds for all further ones",
    )
    folder: Annotated[str, AfterValidator(_absolute_path)] = Field("/", description="Where it runs, an absolute path")
    environment: Mapping[Annotated[str, AfterValidator(_variable_name)], str] = Field(
        default_factory=dict, description="Variables it is given"
    )
    secrets: Mapping[Annotated[str, AfterValidator(_variable_name)], SecretStr] = Field(
        default_factory=dict, description="Variables it is given whose values are shown nowhere, its output included"
    )
    inherit: tuple[Annotated[str, AfterValidator(_variable_name)], ...] = Field(
        (), description="Variables of the service it is given; no others"
    )
    variables: tuple[Annotated[str, AfterValidator(_variable_name)], ...] = Field(
        (), description="Variables the payload may set"
    )
    stdin: bool = Field(False, description="Whether the payload may give it standard input")
    encoding: Annotated[Literal["utf-8", "cp874"], _AnyCase()] = Field("utf-8", description="How it writes and reads")
    timeout: Milliseconds = Field(3600000, gt=0, description="Longest run; Worker:Timeout holds where it is shorter")
    success_codes: tuple[ExitCode, ...] = Field((0,), description="Exit codes that mean success")
    retry_codes: tuple[ExitCode, ...] = Field((75,), description="Exit codes after which it is worth another attempt")


class CommandHandlerSettings(Section):
    """Jobs of kind command."""

    programs: tuple[ProgramSettings, ...] = Field((), description="What may be run; empty: the kind is off")
    max_output: Bytes = Field(
        65536,
        ge=256,
        le=4 * 1024**2,
        description="What is kept of each of its outputs: half from the start, half the end",
    )
    grace: Milliseconds = Field(
        1500, ge=0, le=10000, description="Between SIGTERM and SIGKILL, when a job is cancelled or takes too long"
    )


class HandlersSettings(Section):
    """The kinds of jobs that need no Python: off until something is allowed."""

    http: HttpHandlerSettings = Field(HttpHandlerSettings(), description="Jobs of kind http: call a URL")
    command: CommandHandlerSettings = Field(CommandHandlerSettings(), description="Jobs of kind command: run a program")


class HostOptionsSettings(Section):
    """The host's life. Durations are seconds."""

    shutdown_timeout: Seconds = Field(30.0, ge=0, description="How long running jobs may take to finish at a stop")
    background_service_exception_behavior: Annotated[Literal["StopHost", "Ignore"], _AnyCase()] = Field(
        "StopHost", description="After an unexpected error of a loop: stop with exit code 70, or start it again"
    )


class ConsoleSettings(Section):
    """The log on stderr."""

    formatter_name: Annotated[Literal["auto", "Simple", "Json", "Systemd"], _AnyCase()] = Field(
        "auto", description="auto = Systemd under journald, else Simple"
    )


LevelName = Literal["Trace", "Debug", "Information", "Warning", "Error", "Critical", "None"]


def _default_levels() -> dict[str, LevelName]:
    return {"Default": "Information"}


def _with_default(levels: Any) -> Any:
    """Naming one category leaves `Default` as it was: .NET merges, it does not replace."""
    return {**_default_levels(), **levels} if isinstance(levels, Mapping) else levels


class LoggingSettings(Section):
    """Levels by category prefix, the longest wins; `Default` for the rest."""

    log_level: Annotated[Mapping[str, Annotated[LevelName, _AnyCase()]], BeforeValidator(_with_default)] = Field(
        default_factory=_default_levels,
        description="Level by module prefix: Trace, Debug, Information, Warning, Error, Critical or None",
    )
    console: ConsoleSettings = Field(ConsoleSettings(), description="The log on stderr")
    emoji: bool = Field(True, description="Start each line with its emoji")


class LayeredSource(PydanticBaseSettingsSource):
    """The only source: the tree the layers came to, its keys turned into field names."""

    def __init__(self, settings_cls: type[BaseSettings], tree: Mapping[str, Any]) -> None:
        super().__init__(settings_cls)
        self._tree: dict[str, Any] = inside(shape_of(settings_cls), tree)

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002  (signature)
        return self._tree.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        return self._tree


class Settings(BaseSettings):
    """The whole tree; only service.py and the command line see all of it.

    `Settings()` is the defaults and nothing else: the environment is read by layers.py alone.
    """

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    web_socket: WebSocketSettings = Field(WebSocketSettings(), description="The link to the org-socket server")
    worker: WorkerSettings = Field(WorkerSettings(), description="How jobs are run")
    queue: QueueSettings = Field(QueueSettings(), description="Where jobs and notifications lie")
    hub: HubSettings = Field(HubSettings(), description="The built-in org-socket server")
    http: HttpSettings = Field(HttpSettings(), description="The one port: hub, HTTP API, health")
    insignia: InsigniaSettings = Field(InsigniaSettings(), description="The insignia job")
    uploads: UploadsSettings = Field(UploadsSettings(), description="Files that come with a job")
    handlers: HandlersSettings = Field(HandlersSettings(), description="Jobs that need no Python: http and command")
    host_options: HostOptionsSettings = Field(HostOptionsSettings(), description="The host's life")
    logging: LoggingSettings = Field(LoggingSettings(), description="What is logged, and how")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003  (pydantic-settings' signature)
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Its own environment, dotenv and secrets sources lack .NET's rules, and would win over our layers."""
        return (LayeredSource(settings_cls, init_settings()),)
