"""The WebSocket section: the link to the org-socket server."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr

from config.schema import Hot
from config.types import (
    AnyCase,
    Bytes,
    HeaderName,
    HeaderValue,
    Milliseconds,
    Namespace,
    ProxyUrl,
    Section,
    ServerUrl,
    SocketPath,
    UserId,
    switch_text,
)


class WebSocketSettings(Section):
    """The link to the org-socket server. Durations are milliseconds, as in the original."""

    url: ServerUrl = Field(
        "http://127.0.0.1:8080",
        description="Address of the Socket.IO server, http, https, ws or wss; a path is the namespace. "
        "If not set, the service's own port",
    )
    path: SocketPath = Field("/api/v1/org-socket", description="Path of the Socket.IO endpoint on that server")
    default_user_id: Annotated[UserId | None, Hot()] = Field(
        None, description="User of jobs that name none; without it such a job is rejected"
    )
    reconnection_delay: Annotated[Milliseconds, Hot()] = Field(
        1000, ge=0, description="First delay before a reconnect; doubles with each attempt, jitter ±50 %"
    )
    reconnection_attempts: Annotated[int, Hot()] = Field(
        5, ge=0, description="Attempts before the link counts as failed and waits for TaskDelayOnError; 0 = unlimited"
    )
    timeout: Annotated[Milliseconds, Hot()] = Field(
        20000, gt=0, description="Time for one attempt to connect: TCP, TLS, upgrade, OPEN and CONNECT"
    )
    auto_reconnect: Annotated[bool, Hot()] = Field(True, description="Reconnect after the connection was lost")
    task_delay_on_error: Annotated[Milliseconds, Hot()] = Field(
        5000, ge=0, description="Delay of the job loop after an unexpected error, and of a link that has failed"
    )
    max_reconnection_delay: Annotated[Milliseconds, Hot()] = Field(
        30000, ge=0, description="Longest delay before a reconnect"
    )
    min_uptime: Annotated[Milliseconds, Hot()] = Field(
        5000, ge=0, description="How long a connection must last before the delays start again from the first"
    )
    slow_retry_delay: Annotated[Milliseconds, Hot()] = Field(
        300000, ge=0, description="Delay after the server rejected the connection or asked to slow down"
    )
    event: str = Field("socket-notification", min_length=1, description="Name of the event that carries a notification")
    engine_io: Annotated[Literal["auto", "3", "4"], AnyCase(), BeforeValidator(switch_text), Hot()] = Field(
        "auto", description="Version of Engine.IO; auto = whichever the server speaks, remembered for its Url"
    )
    transports: Annotated[tuple[Literal["websocket", "polling"], ...], Hot()] = Field(
        ("websocket",),
        min_length=1,
        description="Transports in order of preference: websocket, polling; with polling first, a session is upgraded",
    )
    namespace: Namespace | None = Field(
        None, description="Socket.IO namespace; not set: the path of Url, else the main namespace /"
    )
    query: Annotated[Mapping[str, SecretStr], Hot()] = Field(
        default_factory=dict,
        description="Additional parameters of the connection's URL, name and value; proxies may log them",
    )
    proxy: Annotated[ProxyUrl | None, Hot()] = Field(
        None, description="URL of an HTTP proxy; without it HTTPS_PROXY, HTTP_PROXY and NO_PROXY apply"
    )
    keep_alive: Annotated[Milliseconds, Hot()] = Field(
        10000,
        gt=0,
        description="Time without a frame before the server is pinged; without an answer it is given up after as long",
    )
    confirmation: Annotated[Literal["auto", "ack", "fence", "heartbeat", "none"], AnyCase(), Hot()] = Field(
        "auto", description="What confirms that a notification was received"
    )
    ack_timeout: Annotated[Milliseconds, Hot()] = Field(
        10000, gt=0, description="Time for the confirmation of a notification"
    )
    max_send_attempts: Annotated[int, Hot()] = Field(
        5, ge=1, le=1000, description="Attempts to send a notification alone before it is set aside as dead"
    )
    dead_after: Annotated[Milliseconds, Hot()] = Field(
        3600000,
        ge=0,
        description="How long those attempts must span where no other notification was confirmed in the meantime",
    )
    window: Annotated[int, Hot()] = Field(
        256, ge=1, le=10000, description="Most notifications that may be sent and not yet confirmed"
    )
    window_bytes: Annotated[Bytes, Hot()] = Field(
        4 * 1024 * 1024,
        ge=1024,
        description="Most bytes that may be sent and not yet confirmed; one larger notification is sent alone",
    )
    token: Annotated[SecretStr | None, Hot()] = Field(None, description="Token sent in the auth of the connection")
    token_file: Annotated[str | None, Hot()] = Field(
        None, description="File that contains the token, read at each attempt to connect"
    )
    headers: Annotated[
        Mapping[HeaderName, HeaderValue],
        Hot(),
    ] = Field(default_factory=dict, description="Additional HTTP headers of the connection, name and value")
    verify_tls: Annotated[bool, Hot()] = Field(
        True, description="Check the server's certificate; false only in Development"
    )
    ca_file: Annotated[str | None, Hot()] = Field(
        None, description="PEM file of certificate authorities to trust instead of the system's"
    )
    certificate_file: Annotated[str | None, Hot()] = Field(
        None, description="PEM file with the client certificate, and its key unless KeyFile names it"
    )
    key_file: Annotated[str | None, Hot()] = Field(None, description="PEM file with the key of CertificateFile")
    max_payload: Bytes = Field(
        1_000_000, ge=1024, description="Largest notification; a smaller limit of the server applies"
    )
    include_stack_trace: Annotated[bool, Hot()] = Field(
        True, description="Include the stack trace of a failed job in its notification"
    )
    include_result: Annotated[bool, Hot()] = Field(
        False, description="Include the handler's result in the notification"
    )
    progress: Annotated[bool, Hot()] = Field(False, description='Also send "Task Progress" while a job runs')
