"""Settings of .NET's host, its web server and its log providers never stop the start; some of them apply."""

from pathlib import Path

import pytest

from config.errors import ConfigError
from tests.support.site import Site

USUAL = """{
  "Logging": {
    "IncludeScopes": true,
    "LogLevel": {"Default": "Warning", "Microsoft.Hosting.Lifetime": "Information"},
    "Console": {
      "FormatterName": "json", "IncludeScopes": true, "TimestampFormat": "HH:mm:ss ", "DisableColors": true,
      "LogToStandardErrorThreshold": "Error", "MaxQueueLength": 5, "QueueFullMode": "Wait", "UseUtcTimestamp": true,
      "LogLevel": {"Default": "Debug"},
      "FormatterOptions": {"SingleLine": true, "JsonWriterOptions": {"Indented": true}}
    },
    "ApplicationInsights": {"LogLevel": {"Default": "Information"}},
    "Seq": {"ServerUrl": "http://seq.example"},
    "AzureAppServicesFile": {"IncludeScopes": true},
    "Debug": {"LogLevel": {"Default": "None"}}
  },
  "HostOptions": {
    "ShutdownTimeout": "00:00:25", "ServicesStartConcurrently": true, "ServicesStopConcurrently": false,
    "StartupTimeout": "00:01:00"
  },
  "AllowedHosts": "*",
  "ConnectionStrings": {"Default": "Server=."},
  "Serilog": {"WriteTo": [{"Name": "Console"}]},
  "https_port": 443,
  "DetailedErrors": true
}"""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_usual_file_of_a_dotnet_program_is_read_without_a_word(site: Site) -> None:
    site.write(USUAL)
    loaded = site.load()
    assert [str(warning) for warning in loaded.warnings] == []
    assert loaded.settings.logging.console.formatter_name == "Json"
    assert loaded.settings.logging.log_level["Default"] == "Debug", "the console's own levels are stronger"
    assert loaded.settings.host_options.shutdown_timeout == 25


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ('{"Kestrel": {"Endpoints": {"Http": {"Url": "http://*:5000"}}}}', "the address is set by Http:Url"),
        ('{"urls": "http://*:5000"}', "the address is set by Http:Url"),
        ('{"AllowedHosts": "hr.example"}', "did you mean 'Http:AllowedHosts'?"),
        ('{"Logging": {"Graylog": {"Host": "x", "LogLevel": {"Default": "None"}}}}', "no log provider 'Graylog'"),
    ],
)
def test_section_that_looks_as_if_it_did_something_is_named_once(site: Site, text: str, warning: str) -> None:
    site.write(text)
    [found] = site.load().warnings
    assert warning in str(found)


@pytest.mark.parametrize(
    "text",
    [
        '{"Logging": {"LogLevl": {"Default": "None"}}}',
        '{"Logging": {"Console": {"FormaterName": "Json"}}}',
        '{"Logging": {"Emojy": true}}',
        '{"HostOptions": {"ShutdownTimeou": 3}}',
    ],
)
def test_typing_error_beside_keys_of_dotnet_still_stops_the_start(site: Site, text: str) -> None:
    site.write(text)
    with pytest.raises(ConfigError, match="did you mean"):
        site.load()


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("WebSocket_Url", "WebSocket__Url"),
        ("WEBSOCKET_URL", "WebSocket__Url"),
        ("WebSocket.Url", "WebSocket__Url"),
        ("Worker-Concurrency", "Worker__Concurrency"),
        ("WebSocket_Reconnection_Delay", "WebSocket__ReconnectionDelay"),
        ("Hub_Jwt_Key", "Hub__Jwt__Key"),
    ],
)
def test_variable_with_another_separator_is_named_with_the_right_one(site: Site, name: str, meant: str) -> None:
    [found] = site.load(environ={name: "canary"}).warnings
    assert str(found) == f"environment variable {name} is not read; did you mean '{meant}'?"


@pytest.mark.parametrize(
    "name", ["HTTP_PROXY", "WORKER_PORT", "QUEUE_SERVICE_HOST", "PATH", "LANG", "HUB", "_", "A__B"]
)
def test_variable_of_another_program_is_not_mentioned(site: Site, name: str) -> None:
    assert site.load(environ={name: "x"}).warnings == ()


def test_prefixed_variable_is_the_weakest_source(site: Site) -> None:
    variable = {"DOTNET_WebSocket__Url": "http://one.example", "ASPNETCORE_WEBSOCKET__PATH": "/two"}
    loaded = site.load(environ=variable)
    assert (loaded.settings.web_socket.url, loaded.settings.web_socket.path) == ("http://one.example", "/two")
    assert loaded.warnings == ()

    site.write('{"WebSocket": {"Url": "http://file.example"}}')
    loaded = site.load(environ=variable)
    assert loaded.settings.web_socket.url == "http://file.example"
    [found] = loaded.warnings
    assert "DOTNET_WebSocket__Url does not apply" in str(found)
    assert str(found).endswith("name it WebSocket__Url")


@pytest.mark.parametrize("name", ["ASPNETCORE_URLS", "DOTNET_URLS", "URLS"])
def test_addresses_of_the_host_are_those_of_the_service(site: Site, name: str) -> None:
    site.write('{"Http": {"Url": "http://127.0.0.1:1"}}')
    loaded = site.load(environ={name: "https://127.0.0.1:5001;http://127.0.0.1:5000"})
    assert loaded.settings.http.url == "http://127.0.0.1:5000"
    assert str(loaded.origin("Http:Url")) == f"environment variable {name}"


def test_own_address_is_stronger_than_the_hosts(site: Site) -> None:
    variables = {"ASPNETCORE_URLS": "http://127.0.0.1:5000", "Http__Url": "http://127.0.0.1:6000"}
    assert site.load(environ=variables).settings.http.url == "http://127.0.0.1:6000"


def test_address_on_the_command_line_applies(site: Site) -> None:
    assert site.load("--urls=http://127.0.0.1:5000").settings.http.url == "http://127.0.0.1:5000"


@pytest.mark.parametrize("name", ["PORT", "ASPNETCORE_HTTP_PORTS", "DOTNET_HTTP_PORTS", "HTTP_PORTS"])
def test_port_in_a_variable_is_named_with_the_setting_to_use(site: Site, name: str) -> None:
    [found] = site.load(environ={name: "5000"}).warnings
    assert str(found).endswith("set Http__Url=http://0.0.0.0:5000")
    assert name in str(found)
    assert site.load(environ={name: "8080"}).warnings == (), "it is the port in use"
    site.write('{"Http": {"Url": "http://127.0.0.1:81"}}')
    assert site.load(environ={name: "5000"}).warnings == (), "the port was chosen"
