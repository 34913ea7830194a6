"""The settings of the built-in org-socket server."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr

from config.types import (
    AnyCase,
    JwtAlgorithm,
    LongPassword,
    OneOrigin,
    RedisUrl,
    Seconds,
    Section,
    SigningKey,
    SigningSecret,
    switch_text,
)


class JwtKeySettings(Section):
    """An additional key for tokens: another issuer's, or the previous or next one of a rotation."""

    kid: str = Field(min_length=1, description="The `kid` of tokens that are signed with it")
    algorithm: JwtAlgorithm = Field(description="The only algorithm that is accepted with this key")
    key: SecretStr | None = Field(None, description="For HS algorithms the secret, else the public key as PEM")
    file: str | None = Field(None, min_length=1, description="File that contains the key, instead of Key")


class JwtSettings(Section):
    """Tokens of the hub's clients."""

    key: SigningKey | None = Field(
        None,
        description="Key that signs tokens with HS256, at least 32 bytes; without it the first start generates one",
    )
    keys: tuple[JwtKeySettings, ...] = Field((), description="Additional keys, selected by the `kid` of the token")
    issuer: str = Field("insignia-worker", min_length=1, description="Issuer of the tokens, their `iss`")
    audience: str = Field("org-socket", min_length=1, description="Audience of the tokens, their `aud`")
    clock_skew: Seconds | None = Field(
        None,
        ge=0,
        le=3600,
        description="Difference of clocks that is allowed for `exp`, `nbf` and `iat`; without it 10 for the last two"
        " and none for `exp`",
    )


class AdminUiSettings(Section):
    """The page @socket.io/admin-ui, which shows the connected clients."""

    enabled: bool = Field(False, description="Serve the namespace that the page connects to")
    namespace: str = Field("/admin", pattern=r"^/[\w./-]{1,100}$", description="Name of the namespace")
    username: str = Field("admin", min_length=1, description="User name for the page's login")
    password: LongPassword | None = Field(
        None,
        description="Password of the login, at least 12 characters; without it only hub tokens of scope admin work",
    )
    read_only: bool = Field(True, description="Show only; false lets the page disconnect clients")


class HubSettings(Section):
    """The built-in org-socket server."""

    enabled: Annotated[Literal["auto", "true", "false"], AnyCase(), BeforeValidator(switch_text)] = Field(
        "auto", description="auto = on when WebSocket:Url names the port of Http:Url on this machine"
    )
    jwt: JwtSettings = Field(JwtSettings(), description="Tokens of the hub's clients")
    inbox_path: str = Field(
        "hub.db",
        min_length=1,
        description="File with the notifications kept for users; relative to the state directory",
    )
    redis: RedisUrl | None = Field(
        None, description="Address of a Redis server that several hubs share as their inbox, instead of InboxPath"
    )
    signing_secret: SigningSecret | None = Field(
        None,
        description="Secret that signs messages for native clients on request (Standard Webhooks): whsec_ and base64",
    )
    stack_trace_to_users: bool = Field(
        False, description="Send stack traces to every receiver, not only to those with scope admin"
    )
    admin_ui: AdminUiSettings = Field(AdminUiSettings(), description="The page @socket.io/admin-ui")
    anonymous: bool = Field(
        False,
        description="Admit clients without a token, for demonstrations: they have no inbox, and may enter open rooms"
        " and broadcast; in Development only",
    )
    open_rooms: bool = Field(True, description="Let authenticated clients create rooms")
    namespaces: tuple[Annotated[str, Field(pattern=r"^/[\w./-]{0,100}$")], ...] = Field(
        ("/",), min_length=1, description="Socket.IO namespaces in which clients may join"
    )
    allowed_origins: tuple[OneOrigin, ...] = Field(
        (), description="Origins of other pages that may connect, such as https://hr.example"
    )
    allow_eio3: bool = Field(
        False, description="Admit clients of Socket.IO 1 and 2 (Engine.IO 3), which send their token in the URL"
    )
    max_connections: int = Field(10_000, ge=1, description="Most connections in total")
    max_connections_per_user: int = Field(50, ge=1, description="Most connections of one user")
    max_connections_per_address: int = Field(1_000, ge=1, description="Most connections from one address")
    when_full: Annotated[Literal["reject", "close-oldest"], AnyCase()] = Field(
        "reject",
        description="For a user above MaxConnectionsPerUser: reject the new connection, or close the user's oldest one",
    )
    heartbeat_interval: Seconds | None = Field(
        None, ge=1, le=3600, description="Time between two pings of a client; without it 25 on Socket.IO, 30 on /ws"
    )
    heartbeat_timeout: Seconds | None = Field(
        None,
        ge=1,
        le=3600,
        description="Time for the answer to a ping, after which the client is disconnected; without it 5 on Socket.IO,"
        " 15 on /ws",
    )
