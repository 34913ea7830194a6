"""The settings tree: every key with its type, bound, default, unit and one line of meaning.

Fields are snake_case here and PascalCase outside (`reconnection_delay` is `WebSocket:ReconnectionDelay`);
the binding that ignores case, as .NET's does, is in layers.py.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

_TIMESPAN = re.compile(r"(-)?(?:(\d+)\.)?(\d{1,2}):([0-5]?\d)(?::([0-5]?\d)(?:\.(\d{1,7}))?)?")


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


Milliseconds = Annotated[int, BeforeValidator(_milliseconds)]
"""A whole number of milliseconds, or a TimeSpan text such as `00:00:05`."""
Seconds = Annotated[float, BeforeValidator(_seconds)]
"""A number of seconds, or a TimeSpan text such as `00:00:30`."""


class Section(BaseModel):
    """A frozen part of the tree; unknown keys are faults."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class WebSocketSettings(Section):
    """The link to the org-socket server. Durations are milliseconds, as in the original."""

    url: str = Field("http://127.0.0.1:8080", pattern=r"(?i)^(http|https|ws|wss)://[^/\s]+/?$")
    path: str = Field("/api/v1/org-socket", pattern="^/?[^ ?#]+$")
    default_user_id: str | None = Field(None, min_length=1)
    reconnection_delay: Milliseconds = Field(1000, ge=0)
    reconnection_attempts: int = Field(5, ge=0)
    timeout: Milliseconds = Field(20000, gt=0)
    auto_reconnect: bool = True
    task_delay_on_error: Milliseconds = Field(5000, ge=0)
    max_reconnection_delay: Milliseconds = Field(30000, ge=0)
    min_uptime: Milliseconds = Field(5000, ge=0)
    slow_retry_delay: Milliseconds = Field(300000, ge=0)
    event: str = Field("socket-notification", min_length=1)
    confirmation: Literal["auto", "ack", "fence", "heartbeat", "none"] = "auto"
    ack_timeout: Milliseconds = Field(10000, gt=0)
    window: int = Field(256, ge=1, le=10000)
    token: SecretStr | None = None
    token_file: str | None = None
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    verify_tls: bool = True
    ca_file: str | None = None
    max_payload: int = Field(1_000_000, ge=1024)
    include_stack_trace: bool = True
    include_result: bool = False
    progress: bool = False


class WorkerSettings(Section):
    """How jobs are run. Durations are milliseconds."""

    concurrency: int = Field(10, ge=1, le=10000)
    processes: int = Field(2, ge=1, le=256)
    handlers: tuple[str, ...] = ()
    max_attempts: int = Field(3, ge=1, le=1000)
    backoff_delay: Milliseconds = Field(5000, ge=0)
    max_backoff_delay: Milliseconds = Field(300000, ge=0)
    timeout: Milliseconds = Field(3600000, gt=0)
    execution: dict[str, Literal["async", "thread", "process"]] = Field(default_factory=dict)


class QueueSettings(Section):
    """Where jobs and notifications lie."""

    provider: Literal["sqlite"] = "sqlite"
    connection_string: SecretStr | None = None
    path: str = Field("queue.db", min_length=1)
    max_bytes: int = Field(10 * 1024**3, ge=1024**2)
    retention: Milliseconds = Field(30 * 86400 * 1000, gt=0)


class JwtSettings(Section):
    """Tokens of the hub's clients."""

    key: SecretStr | None = None
    issuer: str = Field("insignia-worker", min_length=1)
    audience: str = Field("org-socket", min_length=1)


class HubSettings(Section):
    """The built-in org-socket server."""

    enabled: Literal["auto", "true", "false"] = "auto"
    jwt: JwtSettings = JwtSettings()
    inbox_path: str = Field("hub.db", min_length=1)
    stack_trace_to_users: bool = False


class ApiKeySettings(Section):
    """A key for the HTTP API: `Sha256` is the hex digest of the key itself."""

    name: str = Field(min_length=1)
    sha256: SecretStr
    scopes: tuple[Literal["enqueue", "read", "admin"], ...] = ("read",)


class HttpSettings(Section):
    """The one port: hub, HTTP API, health."""

    url: str = Field("http://127.0.0.1:8080", pattern=r"(?i)^http://[^/\s]+/?$")
    api_keys: tuple[ApiKeySettings, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    max_body: int = Field(1024 * 1024, ge=1024)


class InsigniaSettings(Section):
    """The insignia job."""

    criteria_path: str | None = None
    data_directory: str = Field("rosters", min_length=1)
    output_directory: str = Field("results", min_length=1)
    sequence: Literal["highest_satisfied", "strict_next"] | None = None
    bad_row_limit: float = Field(5.0, ge=0, le=100)


class HostOptionsSettings(Section):
    """The host's life."""

    shutdown_timeout: Seconds = Field(30.0, ge=0)


class ConsoleSettings(Section):
    formatter_name: Literal["auto", "Simple", "Json", "Systemd"] = "auto"


LevelName = Literal["Trace", "Debug", "Information", "Warning", "Error", "Critical", "None"]


def _default_levels() -> dict[str, LevelName]:
    return {"Default": "Information"}


class LoggingSettings(Section):
    """Levels by category prefix, the longest wins; `Default` for the rest."""

    log_level: dict[str, LevelName] = Field(default_factory=_default_levels)
    console: ConsoleSettings = ConsoleSettings()
    emoji: bool = True


class Settings(Section):
    """The whole tree; only service.py and the command line see all of it."""

    web_socket: WebSocketSettings = WebSocketSettings()
    worker: WorkerSettings = WorkerSettings()
    queue: QueueSettings = QueueSettings()
    hub: HubSettings = HubSettings()
    http: HttpSettings = HttpSettings()
    insignia: InsigniaSettings = InsigniaSettings()
    host_options: HostOptionsSettings = HostOptionsSettings()
    logging: LoggingSettings = LoggingSettings()
