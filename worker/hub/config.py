"""The hub's configuration as one value, made from the settings."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from config.hub_settings import HubSettings
from config.link_settings import WebSocketSettings
from config.settings import Settings
from worker.hub.connection_limits import ConnectionLimits
from worker.hub.engineio.session import Timing
from worker.hub.inbox import InboxLimits
from worker.hub.native.endpoint import Heartbeat
from worker.hub.token_keys import further_keys
from worker.hub.tokens import SigningKey
from worker.hub.transports.transport import SendLimits
from worker.net.client_address import Network, networks_of


@dataclass(frozen=True, slots=True)
class HubConfig:
    """Everything that a hub needs to know before it starts."""

    settings: HubSettings
    web_socket: WebSocketSettings
    state_dir: Path
    """The folder of the signing key and the inbox."""
    keys: Mapping[str, SigningKey] = field(default_factory=dict)
    """Further keys by `kid`, for rotation and for tokens of another issuer."""
    trusted_proxies: tuple[Network, ...] = ()
    timing: Timing = field(default_factory=Timing)
    native_heartbeat: Heartbeat = field(default_factory=Heartbeat)
    send_limits: SendLimits = field(default_factory=SendLimits)
    inbox_limits: InboxLimits = field(default_factory=InboxLimits)
    connection_limits: ConnectionLimits = field(default_factory=ConnectionLimits)

    @classmethod
    def from_settings(cls, settings: Settings, *, state_dir: Path, content_root: Path) -> "HubConfig":
        """Return the configuration; key files lie under `content_root`. UnsafeKey: one of them cannot be used."""
        hub = settings.hub
        timing, heartbeat = Timing(), Heartbeat()
        return cls(
            hub,
            settings.web_socket,
            state_dir,
            keys=further_keys(hub.jwt.keys, content_root),
            trusted_proxies=tuple(networks_of(settings.http.trusted_proxies)),
            timing=replace(
                timing,
                ping_interval=hub.heartbeat_interval or timing.ping_interval,
                ping_timeout=hub.heartbeat_timeout or timing.ping_timeout,
            ),
            native_heartbeat=Heartbeat(
                hub.heartbeat_interval or heartbeat.interval, hub.heartbeat_timeout or heartbeat.timeout
            ),
            connection_limits=ConnectionLimits(
                total=hub.max_connections,
                per_address=hub.max_connections_per_address,
                per_user=hub.max_connections_per_user,
                evict_oldest=hub.when_full == "close-oldest",
            ),
        )
