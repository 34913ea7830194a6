"""What settings of a .NET program contain besides the worker's own: names that are ignored, and names that are read.

.NET's host, its web server and its log providers share files and variables with the program. None of their keys may
stop the start.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from config.merge import Path, Setting, same_key

HOST_PREFIXES: Final = ("aspnetcore_", "dotnet_")
"""Variables with these prefixes are the weakest source, as in .NET; the prefix is not part of the key."""
ADDRESSES: Final = "urls"
"""The host's key for the addresses to listen on."""
_HTTP_URL: Path = ("Http", "Url")
_CONSOLE_LEVELS: Final = "logging:console:loglevel:"
_PORTS: Final = ("PORT", "DOTNET_HTTP_PORTS", "ASPNETCORE_HTTP_PORTS", "HTTP_PORTS")

_IGNORED: Final = (
    *("logging:loglevel:microsoft", "logging:loglevel:system", "logging:includescopes"),
    *(
        f"logging:console:{name}"
        for name in (
            *("disablecolors", "format", "formatteroptions", "includescopes", "logtostandarderrorthreshold"),
            *("maxqueuelength", "queuefullmode", "timestampformat", "useutctimestamp"),
        )
    ),
    *(
        f"logging:{provider}"
        for provider in (
            *("applicationinsights", "azureappservicesblob", "azureappservicesfile", "debug", "eventlog"),
            *("eventsource", "file", "log4net", "nlog", "opentelemetry", "seq", "sentry", "tracesource"),
        )
    ),
    *(f"hostoptions:{name}" for name in ("servicesstartconcurrently", "servicesstopconcurrently", "startuptimeout")),
)
"""Keys of .NET inside sections that the worker has too. Everything below them is ignored as well."""
_FOREIGN_SECTIONS: Final = frozenset(
    (
        *("applicationinsights", "authentication", "authorization", "azuread", "capturestartuperrors"),
        *(
            "connectionstrings",
            "cors",
            "detailederrors",
            "featuremanagement",
            "hostbuilder",
            "hostingstartupassemblies",
        ),
        *("http_ports", "https_port", "https_ports", "jwt", "nlog", "opentelemetry", "preferhostingurls"),
        *("reverseproxy", "sentry", "serilog", "smtp", "suppressstatusmessages", "webroot"),
        *("contentroot", "environment", "applicationname"),
    )
)
"""Sections of files that .NET, or libraries that most programs use, know."""


def is_ignored(setting: Setting) -> bool:
    """Return whether a key belongs to .NET's host or one of its libraries, and means nothing here."""
    key = same_key(setting.path)
    if any(key == name or key.startswith((f"{name}:", f"{name}.")) for name in _IGNORED):
        return True
    if setting.origin.kind != "file":
        return False
    return same_key(setting.path[:1]) in _FOREIGN_SECTIONS or (key == "allowedhosts" and setting.value == "*")


def is_log_provider(path: Path) -> bool:
    """Return whether a path is below a section of `Logging`, which then is a log provider's."""
    return len(path) > 2 and same_key(path[:1]) == "logging"


def translated(layer: Iterable[Setting]) -> list[Setting]:
    """Return the layer with the host's names for settings of the worker replaced by the worker's names.

    `Logging:Console:LogLevel` comes last, because it is stronger than `Logging:LogLevel`; addresses come first, because
    `Http:Url` is stronger. Addresses in a file are other programs': the file may be shared.
    """
    addresses: list[Setting] = []
    plain: list[Setting] = []
    levels: list[Setting] = []
    for setting in layer:
        key = same_key(setting.path)
        if key.startswith(_CONSOLE_LEVELS):
            levels.append(replace(setting, path=("Logging", "LogLevel", *setting.path[3:])))
        elif key == ADDRESSES and setting.origin.kind != "file":
            addresses.append(replace(setting, path=_HTTP_URL, value=first_address(str(setting.value))))
        else:
            plain.append(setting)
    return [*addresses, *plain, *levels]


def first_address(urls: str) -> str:
    """Return the first address without TLS of `https://*:5001;http://*:5000`, else all that was written."""
    return next((url.strip() for url in urls.split(";") if url.strip().lower().startswith("http://")), urls)


def unprefixed(name: str) -> str | None:
    """Return the key in a variable of the host, such as `DOTNET_WebSocket__Url`; None: it has no such prefix."""
    prefix = next((prefix for prefix in HOST_PREFIXES if name.lower().startswith(prefix)), None)
    return None if prefix is None else name[len(prefix) :]


def unread_ports(environ: Mapping[str, str], port: int | None) -> Iterator[tuple[str, str]]:
    """Yield variables that name another port than the one in use, with the address that they ask for."""
    for name in _PORTS:
        value = environ.get(name, "").split(";")[0].strip()
        if value.isascii() and value.isdecimal() and int(value) != port:
            yield name, f"http://0.0.0.0:{value}"
