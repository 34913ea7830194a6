"""The settings: every key with its type, bounds, default, unit and description.

Fields are snake_case here and PascalCase outside (`reconnection_delay` is `WebSocket:ReconnectionDelay`).
Nothing here reads a file or a variable: config/loader.py merges the layers and binds the result to these models.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from config.handler_settings import HandlersSettings
from config.hub_settings import HubSettings
from config.link_settings import WebSocketSettings
from config.schema import Hot, shape_of, to_field_names
from config.types import (
    AnyCase,
    Bytes,
    DataFolder,
    KeyDigest,
    KeyName,
    LevelName,
    ListenerUrl,
    Milliseconds,
    Network,
    PageOrigin,
    PathBase,
    Percent,
    PublicUrl,
    Seconds,
    Section,
    UserId,
)


class LimitSettings(Section):
    """A limit for the jobs of one kind, user, organisation or API key, or of each of them."""

    scope: Annotated[Literal["kind", "user", "organization", "key"], AnyCase()] = Field(
        description="What the limit counts by: kind, user, organization, or key (the name of the API key)"
    )
    name: str | None = Field(
        None, min_length=1, description="Which one; without it, each one that has no limit of its own is limited alone"
    )
    running: int | None = Field(None, ge=0, description="Most jobs that run at once; the others wait")
    waiting: int | None = Field(None, ge=0, description="Most jobs that wait; further ones are rejected with 429")
    per_minute: int | None = Field(None, ge=1, description="Most attempts that start within a minute")
    waiting_bytes: Bytes | None = Field(
        None, ge=0, description="Most bytes that the payloads of waiting jobs have; further jobs are rejected with 429"
    )


class WorkerSettings(Section):
    """How jobs are run. Durations are milliseconds."""

    concurrency: Annotated[int, Hot()] = Field(10, ge=1, le=10000, description="Jobs that run at the same time")
    processes: Annotated[int, Hot()] = Field(
        2, ge=1, le=256, description="Child processes for handlers that run in a process of their own"
    )
    handlers: tuple[str, ...] = Field((), description="Python modules with additional handlers")
    max_attempts: Annotated[int, Hot()] = Field(
        3, ge=1, le=1000, description="Attempts before a job has failed, unless the job names a number"
    )
    backoff_delay: Annotated[Milliseconds, Hot()] = Field(
        5000, ge=0, description="Delay before the second attempt; doubles with each further one, jitter ±50 %"
    )
    max_backoff_delay: Annotated[Milliseconds, Hot()] = Field(
        300000, ge=0, description="Longest delay between two attempts"
    )
    timeout: Annotated[Milliseconds, Hot()] = Field(
        3600000, gt=0, description="Longest time for one attempt, unless the handler names a time"
    )
    max_result: Annotated[Bytes, Hot()] = Field(
        1_000_000, ge=1024, description="Largest result of a handler as JSON; with a larger one, the job fails"
    )
    execution: Annotated[Mapping[str, Annotated[Literal["async", "thread", "process"], AnyCase()]], Hot()] = Field(
        default_factory=dict, description="How a job kind is run: async, thread or process"
    )
    limits: Annotated[tuple[LimitSettings, ...], Hot()] = Field(
        (), description="Limits by kind, user, organisation and API key"
    )


class QueueSettings(Section):
    """Where jobs and notifications are stored."""

    provider: Annotated[Literal["sqlite", "postgres"], AnyCase()] = Field(
        "sqlite", description="Kind of store; postgres is shared by several workers and needs the extra packages"
    )
    connection_string: SecretStr | None = Field(
        None,
        description="URL of a PostgreSQL database, such as postgresql://user@host/db?schema=insignia; not for sqlite",
    )
    path: str = Field("queue.db", min_length=1, description="The store's file; relative to the state directory")
    max_bytes: Bytes = Field(
        10 * 1024**3, ge=1024**2, description="Size at which new jobs are rejected and no job is started"
    )
    retention: Annotated[Milliseconds, Hot()] = Field(
        30 * 86400 * 1000,
        gt=0,
        description="How long jobs that have ended are kept, once their notifications are delivered",
    )
    audit_retention: Annotated[Milliseconds, Hot()] = Field(
        365 * 86400 * 1000, gt=0, description="How long entries of the audit log are kept"
    )


class ApiKeySettings(Section):
    """A key for the HTTP API."""

    name: KeyName = Field(description="Name of the key, for logs; unique, at most 200 characters")
    sha256: KeyDigest = Field(description="SHA-256 of the key, 64 hexadecimal digits; the key itself is not stored")
    scopes: tuple[Annotated[Literal["enqueue", "read", "admin"], AnyCase()], ...] = Field(
        ("read",), description="What the key allows: enqueue, read, admin"
    )
    users: tuple[UserId, ...] = Field((), description="Users whose jobs the key may read and submit; empty: all users")
    organizations: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        (),
        description="Organisations whose jobs the key may read and submit, by the payload's organization; empty: all",
    )
    folders: tuple[DataFolder, ...] = Field(
        (),
        description="Folders below Insignia:DataDirectory whose files the key's jobs may read, `.` = all but uploads;"
        " keys of scope admin that are not bound read all",
    )
    max_priority: int = Field(
        0, ge=0, le=100, description="Highest priority that the key may give a job; keys with scope admin may give any"
    )


class HttpSettings(Section):
    """The port that serves hub, HTTP API and health."""

    url: ListenerUrl = Field(
        "http://127.0.0.1:8080", description="Address to listen on; addresses other than loopback need TrustedProxies"
    )
    admin_url: ListenerUrl | None = Field(
        None, description="Second address to listen on; dashboard and administration are then served only there"
    )
    path_base: PathBase = Field(
        "", description="Path below which a proxy serves everything, such as /worker: prefix of links and cookie"
    )
    public_url: PublicUrl | None = Field(
        None,
        description="Address at which others reach the service through its proxy, such as https://hr.example/worker; "
        "`doctor` examines the way through it",
    )
    api_keys: Annotated[tuple[ApiKeySettings, ...], Hot()] = Field((), description="Keys of the HTTP API")
    allowed_hosts: Annotated[tuple[str, ...], Hot()] = Field(
        (), description="Host names that requests may be addressed to; empty: any"
    )
    cors_origins: tuple[PageOrigin, ...] = Field(
        (), description="Origins whose pages may call the API with their own key, such as https://hr.example; * = all"
    )
    rate_limit: Annotated[int, Hot()] = Field(
        0,
        ge=0,
        le=1_000_000,
        description="Requests per second of one caller, with bursts of twice as many; 0 = no limit",
    )
    failed_logins: Annotated[int, Hot()] = Field(
        20, ge=1, le=100_000, description="Unknown keys per minute from one address before further unknown ones get 429"
    )
    streams_per_caller: int = Field(
        20, ge=1, le=100, description="Streams of /api/v1/live that one caller may have open; above it 429"
    )
    trusted_proxies: tuple[Network, ...] = Field(
        (), description="Addresses or networks of proxies whose forwarded headers are trusted"
    )
    max_body: Bytes = Field(16 * 1024 * 1024, ge=1024, description="Largest request body")

    @property
    def host_names(self) -> frozenset[str]:
        """`allowed_hosts` as requests are compared with them."""
        return frozenset(host.lower() for host in self.allowed_hosts)


class InsigniaSettings(Section):
    """The insignia job."""

    criteria_path: str | None = Field(None, description="Criteria file to use instead of the one that is included")
    data_directory: str = Field(
        "rosters", min_length=1, description="Folder with rosters; relative to the state directory"
    )
    output_directory: str = Field(
        "results", min_length=1, description="Folder for results; relative to the state directory"
    )
    sequence: Annotated[Literal["highest_satisfied", "strict_next"], AnyCase()] | None = Field(
        None, description="Which class to propose; without it the criteria file decides"
    )
    bad_row_limit: Percent = Field(5.0, description="Share of unreadable rows above which a roster is rejected")
    keep_replaced: Milliseconds = Field(
        30 * 86400 * 1000,
        ge=0,
        description="How long results are kept that a newer job of the same user, organization and round replaced",
    )
    absolute_output: bool = Field(
        False, description="Give the results folder in `output` of a result as an absolute path of this machine"
    )


class UploadsSettings(Section):
    """Files uploaded with a job. They are kept in uploads/ below Insignia:DataDirectory and deleted with their job."""

    max_bytes: Bytes = Field(
        64 * 1024**2, ge=1, le=256 * 1024**2, description="Largest upload, all files of a job together"
    )
    total_bytes: Bytes = Field(
        10 * 1024**3, ge=1, description="Size of all stored uploads above which new ones are rejected"
    )
    bytes_per_owner: Bytes = Field(
        0, ge=0, description="Size of the stored uploads of one user or organisation; above it 429; 0 = no limit"
    )
    min_bytes_per_second: Bytes = Field(
        4096, ge=0, description="Average rate below which an upload ends with 408, after its first minute; 0 = no limit"
    )


class HostOptionsSettings(Section):
    """Start and stop of the process. Durations are seconds."""

    shutdown_timeout: Annotated[Seconds, Hot()] = Field(
        30.0, ge=0, description="Time for running jobs to finish when the service stops"
    )
    reload_on_change: bool = Field(
        True, description="Reload the settings when their files change, within a few seconds; else only after SIGHUP"
    )
    background_service_exception_behavior: Annotated[Literal["StopHost", "Ignore"], AnyCase()] = Field(
        "StopHost",
        description="After an unexpected error of a background loop: stop with exit code 70, or restart the loop",
    )


class ConsoleSettings(Section):
    """The log on stderr."""

    formatter_name: Annotated[Literal["auto", "Simple", "Json", "Systemd"], AnyCase()] = Field(
        "auto", description="Format: auto = Systemd under journald, else Simple"
    )


def _default_levels() -> dict[str, LevelName]:
    return {"Default": "Information"}


def _with_default(levels: Any) -> Any:
    """Keep `Default` when other categories are given: .NET merges dictionaries and does not replace them."""
    return {**_default_levels(), **levels} if isinstance(levels, Mapping) else levels


class LoggingSettings(Section):
    """Levels by category prefix, the longest prefix applies; `Default` for the rest."""

    log_level: Annotated[Mapping[str, Annotated[LevelName, AnyCase()]], BeforeValidator(_with_default)] = Field(
        default_factory=_default_levels,
        description="Level by module prefix: Trace, Debug, Information, Warning, Error, Critical or None",
    )
    console: ConsoleSettings = Field(ConsoleSettings(), description="The log on stderr")
    emoji: bool = Field(True, description="Start each line with an emoji")


class LayeredSource(PydanticBaseSettingsSource):
    """The only source of values: the merged layers, with their keys turned into field names."""

    def __init__(self, settings_cls: type[BaseSettings], tree: Mapping[str, Any]) -> None:
        super().__init__(settings_cls)
        self._tree: dict[str, Any] = to_field_names(shape_of(settings_cls), tree)

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002  (signature)
        return self._tree.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        return self._tree


class Settings(BaseSettings):
    """All settings; only the service's composition and the command line use it as a whole.

    `Settings()` has the defaults and nothing else: only config/loader.py reads the environment.
    """

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    web_socket: WebSocketSettings = Field(WebSocketSettings(), description="The link to the org-socket server")
    worker: WorkerSettings = Field(WorkerSettings(), description="How jobs are run")
    queue: QueueSettings = Field(QueueSettings(), description="Where jobs and notifications are stored")
    hub: HubSettings = Field(HubSettings(), description="The built-in org-socket server")
    http: HttpSettings = Field(HttpSettings(), description="The port that serves hub, HTTP API and health")
    insignia: Annotated[InsigniaSettings, Hot()] = Field(InsigniaSettings(), description="The insignia job")
    uploads: UploadsSettings = Field(UploadsSettings(), description="Files uploaded with a job")
    handlers: Annotated[HandlersSettings, Hot()] = Field(
        HandlersSettings(), description="Job kinds that need no Python: http and command"
    )
    host_options: HostOptionsSettings = Field(HostOptionsSettings(), description="Start and stop of the process")
    logging: Annotated[LoggingSettings, Hot()] = Field(LoggingSettings(), description="What is logged, and how")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003  (pydantic-settings' signature)
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 -- as pydantic calls it
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 -- as pydantic calls it
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Leave out pydantic-settings' own sources: they lack .NET's rules and would override the merged layers."""
        return (LayeredSource(settings_cls, init_settings()),)
