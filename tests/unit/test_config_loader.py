"""Layers of settings: which one applies, what is a fault or a warning, and how each is reported."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.errors import ConfigError
from config.merge import Path as KeyPath
from config.merge import key_text
from config.schema import LeafShape, ListOf, SectionShape, shape_of, walk
from config.settings import Settings
from config.show import rows
from tests.support.site import Site

HEX = "ab" * 32


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def _url(site: Site, *argv: str, **options: Any) -> tuple[str, str]:
    loaded = site.load(*argv, **options)
    return loaded.settings.web_socket.url, str(loaded.origin("WebSocket:Url"))


# -- order of the layers -----------------------------------------------------------------------------------------------


def test_load_each_layer_overrides_the_one_before(site: Site) -> None:
    assert _url(site) == ("http://127.0.0.1:8080", "default")
    site.write('{\n  "WebSocket": { "Url": "http://file" }\n}')
    assert _url(site) == ("http://file", "appsettings.json:2")
    site.write('{ "WebSocket": { "Url": "http://env-file" } }', "appsettings.Production.json")
    assert _url(site) == ("http://env-file", "appsettings.Production.json:1")
    mounted = site.write("http://mounted\n", "WebSocket__Url", site.path("secrets"))
    assert _url(site) == ("http://mounted", f"credential file {mounted}")
    credential = site.write("http://credential", "WebSocket:Url", site.path("credentials"))
    environ = {"CREDENTIALS_DIRECTORY": str(credential.parent)}
    assert _url(site, environ=environ) == ("http://credential", f"credential file {credential}")
    environ["WebSocket__Url"] = "http://variable"
    assert _url(site, environ=environ) == ("http://variable", "environment variable WebSocket__Url")
    assert _url(site, "--WebSocket:Url=http://argument", environ=environ) == (
        "http://argument",
        "command line --WebSocket:Url",
    )


def test_load_skips_the_file_of_another_environment(site: Site) -> None:
    site.write('{"WebSocket": {"Url": "http://dev"}}', "appsettings.Development.json")
    site.write("{}")
    assert _url(site)[0] == "http://127.0.0.1:8080"
    assert _url(site, environment="development")[0] == "http://dev"


def test_override_of_one_key_keeps_the_other_keys_of_its_section(site: Site) -> None:
    site.write('{"WebSocket": {"Url": "http://file", "Path": "/file"}}')
    site.write('{"WebSocket": {"Path": "/override"}}', "appsettings.Production.json")
    link = site.load().settings.web_socket
    assert (link.url, link.path) == ("http://file", "/override")


def test_file_keys_match_in_any_case(site: Site) -> None:
    site.write('{"websocket": {"URL": "http://file", "reconnectiondelay": 7}}')
    link = site.load().settings.web_socket
    assert (link.url, link.reconnection_delay) == ("http://file", 7)


def test_file_keys_with_colons_are_split(site: Site) -> None:
    site.write('{"WebSocket:Url": "http://flat", "Hub": {"Jwt:Issuer": "me"}}')
    loaded = site.load()
    assert (loaded.settings.web_socket.url, loaded.settings.hub.jwt.issuer) == ("http://flat", "me")


def test_file_with_byte_order_mark_comments_and_trailing_commas_is_read(site: Site) -> None:
    site.write(b'\xef\xbb\xbf{ // from Visual Studio\n "WebSocket": {"Url": "http://bom", /* x */ }, }')
    assert _url(site) == ("http://bom", "appsettings.json:2")


@pytest.mark.parametrize("text", ['"5"', "5", '" 5 "'])
def test_number_setting_accepts_text(site: Site, text: str) -> None:
    site.write(f'{{"Worker": {{"Concurrency": {text}}}}}')
    assert site.load().settings.worker.concurrency == 5


@pytest.mark.parametrize("text", ["false", '"False"', '"FALSE"', '"false"'])
def test_boolean_setting_accepts_text_in_any_case(site: Site, text: str) -> None:
    site.write(f'{{"WebSocket": {{"AutoReconnect": {text}}}}}')
    assert site.load().settings.web_socket.auto_reconnect is False


def test_text_setting_accepts_a_number(site: Site) -> None:
    site.write('{"WebSocket": {"DefaultUserId": 42}}')
    assert site.load().settings.web_socket.default_user_id == "42"


@pytest.mark.parametrize("value", ["true", "false", '"auto"', '"True"', '"AUTO"'])
def test_hub_enabled_accepts_booleans_from_files(site: Site, value: str) -> None:
    site.write(f'{{"Hub": {{"Enabled": {value}}}}}')
    assert site.load().settings.hub.enabled == value.strip('"').lower()


def test_null_in_a_later_file_restores_the_default(site: Site) -> None:
    site.write('{"Worker": {"Concurrency": 3}}')
    site.write('{"Worker": {"Concurrency": null}, "WebSocket": null}', "appsettings.Production.json")
    loaded = site.load()
    assert (loaded.settings.worker.concurrency, str(loaded.origin("Worker:Concurrency"))) == (10, "default")


# -- lists and dictionaries --------------------------------------------------------------------------------------------


def test_shorter_list_in_a_later_file_merges_by_index_with_a_warning(site: Site) -> None:
    site.write('{"Http": {"AllowedHosts": ["a", "b"]}}')
    site.write('{\n"Http": {"AllowedHosts": ["c"]}}', "appsettings.Production.json")
    loaded = site.load()
    assert loaded.settings.http.allowed_hosts == ("c", "b")
    assert [str(warning) for warning in loaded.warnings] == [
        "appsettings.Production.json:2: Http:AllowedHosts has 1 element here, but lists merge by index: "
        "Http:AllowedHosts:1 from appsettings.json:1 stays; set it to null to remove it"
    ]


def test_empty_list_in_a_later_file_keeps_the_elements_with_a_warning(site: Site) -> None:
    site.write('{"Http": {"AllowedHosts": ["a"]}}')
    site.write('{"Http": {"AllowedHosts": []}}', "appsettings.Production.json")
    loaded = site.load()
    assert loaded.settings.http.allowed_hosts == ("a",)
    assert "has 0 elements here" in str(loaded.warnings[0])


@pytest.mark.parametrize("override", ['["c", null]', '["c", "d"]', '["c", "d", "e"]'])
def test_list_of_the_same_length_in_a_later_file_gives_no_warning(site: Site, override: str) -> None:
    site.write('{"Http": {"AllowedHosts": ["a", "b"]}}')
    site.write(f'{{"Http": {{"AllowedHosts": {override}}}}}', "appsettings.Production.json")
    loaded = site.load()
    assert (loaded.settings.http.allowed_hosts[0], loaded.warnings) == ("c", ())
    assert "b" not in loaded.settings.http.allowed_hosts


def test_list_element_from_a_variable_gives_no_warning(site: Site) -> None:
    site.write('{"Http": {"AllowedHosts": ["a", "b"]}}')
    loaded = site.load(environ={"Http__AllowedHosts__0": "c"})
    assert (loaded.settings.http.allowed_hosts, loaded.warnings) == (("c", "b"), ())


def test_null_for_a_section_keeps_its_keys_with_a_warning(site: Site) -> None:
    site.write('{"WebSocket": {"Headers": {"X-A": "1"}}}')
    site.write('{"WebSocket": {"Headers": null}}', "appsettings.Production.json")
    loaded = site.load()
    assert list(loaded.settings.web_socket.headers) == ["X-A"]
    assert [str(warning) for warning in loaded.warnings] == [
        "appsettings.Production.json:1: WebSocket:Headers is null here, but WebSocket:Headers:X-A from "
        "appsettings.json:1 stays; set that to null to remove it"
    ]


def test_empty_list_without_earlier_elements_is_empty(site: Site) -> None:
    site.write(f'{{"Http": {{"ApiKeys": [{{"Name": "x", "Sha256": "{HEX}", "Scopes": []}}]}}}}')
    assert site.load().settings.http.api_keys[0].scopes == ()


def test_list_of_sections_can_be_given_in_variables(site: Site) -> None:
    environ = {"Http__ApiKeys__0__Name": "me", "HTTP__APIKEYS__0__SHA256": HEX, "Http:ApiKeys:0:Scopes:5": "admin"}
    loaded = site.load(environ=environ)
    (key,) = loaded.settings.http.api_keys
    assert (key.name, key.sha256.get_secret_value(), key.scopes) == ("me", HEX, ("admin",))
    assert str(loaded.origin("Http:ApiKeys:0:Scopes:0")) == "environment variable Http:ApiKeys:0:Scopes:5"


def test_dictionary_keys_keep_their_spelling_and_merge_in_any_case(site: Site) -> None:
    site.write('{"Worker": {"Execution": {"send_Mail": "async"}}, "Logging": {"LogLevel": {"default": "warning"}}}')
    loaded = site.load(environ={"WORKER__EXECUTION__SEND_MAIL": "THREAD", "Logging__LogLevel__worker.hub": "Debug"})
    assert loaded.settings.worker.execution == {"send_Mail": "thread"}
    assert loaded.settings.logging.log_level == {"Default": "Warning", "worker.hub": "Debug"}
    assert str(loaded.origin("Logging:LogLevel:Default")) == "appsettings.json:1"


def test_log_level_of_one_category_from_a_variable_keeps_the_default_level(site: Site) -> None:
    levels = site.load(environ={"Logging__LogLevel__worker": "Debug"}).settings.logging.log_level
    assert levels == {"Default": "Information", "worker": "Debug"}


@pytest.mark.parametrize(
    ("environ", "fault"),
    [
        ({"Http__AllowedHosts": "a,b"}, "Http:AllowedHosts is a list: give its elements as Http:AllowedHosts:0"),
        ({"WebSocket__Headers": "x"}, "WebSocket:Headers is a dictionary: give its entries as WebSocket:Headers:NAME"),
        ({"Hub__Jwt": "x"}, "Hub:Jwt is a section: give its settings as Hub:Jwt:NAME"),
        ({"WebSocket__Url__0": "x"}, "unknown setting 'WebSocket:Url:0'; WebSocket:Url takes a single value"),
        ({"Http__AllowedHosts__first": "x"}, "'Http:AllowedHosts:first'; Http:AllowedHosts is a list"),
        ({"Http__AllowedHosts__9999999": "x"}, "'Http:AllowedHosts:9999999'; Http:AllowedHosts is a list"),
    ],
)
def test_value_of_the_wrong_form_reports_what_is_expected(site: Site, environ: dict[str, str], fault: str) -> None:
    assert fault in site.fault(environ=environ)


@pytest.mark.parametrize("value", ['["http://a"]', "[]", "{}"])
def test_list_for_a_single_value_is_a_fault(site: Site, value: str) -> None:
    site.write(f'{{"WebSocket": {{"Url": {value}}}}}')
    assert "WebSocket:Url takes a single value" in site.fault()


def test_list_for_a_dictionary_is_a_fault(site: Site) -> None:
    site.write('{"WebSocket": {"Headers": ["X-A"]}}')
    assert "WebSocket:Headers is a dictionary" in site.fault()


# -- variables, credentials, arguments ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["WebSocket__Url", "WEBSOCKET__URL", "websocket__url", "WebSocket:Url", "WebSocket:URL"]
)
def test_variable_is_read_with_either_separator_in_any_case(site: Site, name: str) -> None:
    assert _url(site, environ={name: "http://variable"}) == ("http://variable", f"environment variable {name}")


def test_variable_in_two_spellings_gives_a_warning(site: Site) -> None:
    environ = {"WEBSOCKET__URL": "http://a", "WebSocket__Url": "http://b"}
    assert _url(site, environ=environ)[0] == "http://b"
    assert "name the same setting; the latter applies" in site.warnings(environ=environ)[0]


def test_empty_variable_is_an_empty_text_and_named_in_the_fault(site: Site) -> None:
    assert site.fault(environ={"WebSocket__Timeout": ""}) == (
        'WebSocket:Timeout = "" (from environment variable WebSocket__Timeout): '
        "must be a whole number of milliseconds, or a time span such as 00:00:30"
    )


@pytest.mark.parametrize("value", ["1_0", "\u0661\u0660", "0x10", "1,000", "inf", "nan", "true"])
def test_load_reads_no_number_that_dotnet_would_refuse(site: Site, value: str) -> None:
    keys = [
        key_text(path).replace(":N", ":0")
        for path, key in walk(shape_of(Settings))
        if isinstance(key.shape, LeafShape) and key.shape.is_number
    ]
    assert len(keys) > 50
    faults = site.faults(*(f"--{key}={value}" for key in keys))
    for key in keys:
        assert any(fault.startswith(f"{key} = {value} (from command line --{key}): must be a ") for fault in faults)


def test_load_names_a_number_with_an_underscore_in_every_source_and_list(site: Site) -> None:
    site.write('{"Worker": {"Concurrency": "1_0"}}')
    program = ("--Handlers:Command:Programs:0:Name=a", "--Handlers:Command:Programs:0:Path=/bin/true")
    code = "Handlers:Command:Programs:0:SuccessCodes:0"
    assert site.faults(*program, f"--{code}=1_0", environ={"Worker__MaxAttempts": "1_0"}) == [
        "Worker:Concurrency = 1_0 (from appsettings.json:1): must be a whole number",
        "Worker:MaxAttempts = 1_0 (from environment variable Worker__MaxAttempts): must be a whole number",
        f"{code} = 1_0 (from command line --{code}): must be a whole number",
    ]


@pytest.mark.parametrize(
    ("value", "number"), [("+5", 5.0), (" 5 ", 5.0), ("5e-1", 0.5), (".5", 0.5), ("00:00:05", 5.0)]
)
def test_load_reads_numbers_as_dotnet_does(site: Site, value: str, number: float) -> None:
    assert site.load(f"--HostOptions:ShutdownTimeout={value}").settings.host_options.shutdown_timeout == number


def test_load_refuses_a_time_span_with_digits_of_another_script(site: Site) -> None:
    assert "must be a whole number of milliseconds" in site.fault("--Worker:Timeout=00:00:3\u0660")


@pytest.mark.parametrize("value", ["24:00:00", "1.24:00", "99:00"])
def test_load_refuses_a_time_span_of_more_than_23_hours(site: Site, value: str) -> None:
    assert site.fault(f"--Worker:Timeout={value}").endswith(
        "must have at most 23 hours; days come first, such as 1.00:00:00"
    )


@pytest.mark.parametrize(
    "name",
    [
        "PATH",
        "HUB",
        "QUEUE",
        "WEBSOCKET",
        "__CF_USER",
        "OTHER__Url",
        "PUB__TOPIC",
        "GIT__ENABLED",
        "QUERY__X",
    ],
)
def test_variables_of_other_programs_are_ignored(site: Site, name: str) -> None:
    loaded = site.load(environ={name: "anything"})
    assert (loaded.settings, loaded.warnings) == (Settings(), ())


@pytest.mark.parametrize(
    ("name", "section"),
    [
        ("WebSokcet__Url", "WebSocket"),
        ("WebSocket2__Nonsense", "WebSocket"),
        ("WEBSOKET__URL", "WebSocket"),
        ("Wroker:Concurrency", "Worker"),
        ("Worekrs__Concurrency", "Worker"),
        ("Quue__Path", "Queue"),
        ("Hubb__Enabled", "Hub"),
        ("Htpp__Url", "Http"),
        ("Insgnai__DataDirectory", "Insignia"),
        ("HostOption__ShutdownTimeout", "HostOptions"),
        ("Loging__Emoji", "Logging"),
    ],
)
def test_variable_with_a_misspelt_section_is_a_fault(site: Site, name: str, section: str) -> None:
    wrong = name.replace("__", ":").split(":")[0]
    assert site.fault(environ={name: "x"}) == (
        f"environment variable {name}: section {wrong!r} does not exist; did you mean {section!r}?"
    )


def test_credential_value_loses_one_final_line_break(site: Site) -> None:
    site.write("s3cret \n\n", "WebSocket__Token", site.path("secrets"))
    token = site.load().settings.web_socket.token
    assert token is not None
    assert token.get_secret_value() == "s3cret \n"


def test_credential_folder_files_of_other_programs_are_not_opened(site: Site) -> None:
    folder = site.path("secrets")
    site.write(b"\xff", "db_password", folder)
    site.write(b"\xff", "Postgres__Password", folder)
    site.write(b"\xff", "ignore.WebSocket__Token", folder)
    site.write(b"\xff", ".WebSocket__Token", folder)
    (folder / "Hub__Dir").mkdir()
    os.mkfifo(folder / "Other__Pipe")
    assert site.load().settings == Settings()


def test_unusable_credential_is_a_fault(site: Site) -> None:
    folder = site.path("secrets")
    site.write(b"\xff", "WebSocket__Token", folder)
    site.write(b"x" * 70_000, "Queue__ConnectionString", folder)
    os.mkfifo(folder / "Hub__Jwt__Key")
    found = "\n".join(site.faults())
    assert f"credential file {folder}/WebSocket__Token: this is not UTF-8" in found
    assert f"credential file {folder}/Queue__ConnectionString: is larger than 64 KiB" in found
    assert f"credential file {folder}/Hub__Jwt__Key: cannot be read: it is not a regular file" in found


@pytest.mark.parametrize(
    "argv",
    [
        ("--WebSocket:Url=http://argument",),
        ("--WebSocket:Url", "http://argument"),
        ("/WebSocket:Url=http://argument",),
        ("/WebSocket:Url", "http://argument"),
        ("WebSocket:Url=http://argument",),
        ("--websocket:URL=http://argument",),
        ("--WebSocket:Url=http://first", "WebSocket:url=http://argument"),
    ],
)
def test_argument_is_read_in_each_spelling_of_dotnet(site: Site, argv: tuple[str, ...]) -> None:
    assert _url(site, *argv)[0] == "http://argument"


def test_argument_value_keeps_equals_signs(site: Site) -> None:
    assert site.load("--WebSocket:DefaultUserId=a=b").settings.web_socket.default_user_id == "a=b"


@pytest.mark.parametrize(
    ("argv", "fault"),
    [
        (("--WebSocket:Url",), "command line: --WebSocket:Url needs a value: --WebSocket:Url=VALUE"),
        (("--WebSocket:Url", "--Worker:Concurrency=2"), "command line: --WebSocket:Url needs a value"),
        (("-u=http://x",), "command line: argument 1 (-u) is not understood"),
        (("Hub:Enabled=true", "word"), "command line: argument 2 is not understood"),
        (("--WebSocket__Url=x",), "section 'WebSocket__Url' does not exist; did you mean 'WebSocket:Url'?"),
        (("--WebSocket.Url=x",), "section 'WebSocket.Url' does not exist; did you mean 'WebSocket:Url'?"),
        (("--Other:Key=x",), "command line --Other:Key: section 'Other' does not exist"),
        (("--WebSocket:Urll=x",), "unknown setting 'WebSocket:Urll'; did you mean 'WebSocket:Url'?"),
    ],
)
def test_argument_that_dotnet_ignores_is_a_fault(site: Site, argv: tuple[str, ...], fault: str) -> None:
    assert fault in site.fault(*argv)


def test_shutdown_key_of_the_host_sets_shutdown_timeout(site: Site) -> None:
    site.write('{"shutdownTimeoutSeconds": 7}')
    assert site.load().settings.host_options.shutdown_timeout == 7
    assert site.load(environ={"DOTNET_SHUTDOWNTIMEOUTSECONDS": "8"}).settings.host_options.shutdown_timeout == 8
    assert site.load("--shutdownTimeoutSeconds", "9").settings.host_options.shutdown_timeout == 9


# -- faults and warnings -----------------------------------------------------------------------------------------------


def test_load_reports_all_faults_at_once_with_their_origins(site: Site) -> None:
    site.write('{\n "WebSocket": {\n  "ReconectionDelay": 5,\n  "Timeout": "soon" },\n "Hub": {"Jwt": {"Issur": "x"}}}')
    site.write('{ "Worker": [1] }', "appsettings.Production.json")
    assert site.faults("--Queue:Path=", environ={"WebSocket__ReconnectionDelay": "-1", "Http__Urll": "x"}) == [
        "appsettings.json:3: unknown setting 'WebSocket:ReconectionDelay'; did you mean 'WebSocket:ReconnectionDelay'?",
        "appsettings.json:5: unknown setting 'Hub:Jwt:Issur'; did you mean 'Hub:Jwt:Issuer'?",
        "appsettings.Production.json:1: unknown setting 'Worker:0'",
        "environment variable Http__Urll: unknown setting 'Http:Urll'; did you mean 'Http:Url'?",
        "WebSocket:ReconnectionDelay = -1 (from environment variable WebSocket__ReconnectionDelay): must be >= 0",
        "WebSocket:Timeout = soon (from appsettings.json:4): must be a whole number of milliseconds, "
        "or a time span such as 00:00:30",
        'Queue:Path = "" (from command line --Queue:Path): must not be empty',
    ]


def test_broken_file_does_not_hide_other_faults(site: Site) -> None:
    site.write('{\n  "WebSocket": {,}\n}')
    assert site.faults(environ={"Worker__Concurrency": "0"}) == [
        "appsettings.json:2:17: expected a name in double quotes",
        "Worker:Concurrency = 0 (from environment variable Worker__Concurrency): must be >= 1",
    ]


def test_duplicate_key_in_a_file_is_a_fault(site: Site) -> None:
    site.write('{"WebSocket": {"Url": "http://a",\n "URL": "http://b"}}')
    assert site.fault() == "appsettings.json:2:9: WebSocket:URL is already given on line 1"


def test_unreadable_file_is_a_fault(site: Site) -> None:
    (site.here / "appsettings.json").mkdir()
    assert site.fault() == "appsettings.json: cannot be read: Is a directory"


def test_unknown_section_in_a_file_gives_a_warning(site: Site) -> None:
    site.write('{"$schema": "x",\n"Portal": {"A": 1, "B": 2},\n"AllowedHosts": "hr",\n"WebSokcet": {"Url": "x"}}')
    assert site.warnings() == [
        "appsettings.json:2: unknown section 'Portal' is ignored",
        "appsettings.json:3: unknown section 'AllowedHosts' is ignored; did you mean 'Http:AllowedHosts'?",
        "appsettings.json:4: unknown section 'WebSokcet' is ignored; did you mean 'WebSocket'?",
    ]


def test_logging_keys_of_dotnet_are_ignored_without_a_warning(site: Site) -> None:
    site.write(
        '{"Logging": {"LogLevel": {"Microsoft": "Warning", "Microsoft.AspNetCore": "Nonsense", "System": "None"},'
        ' "Debug": {"LogLevel": {"Default": "X"}}, "EventLog": {"LogLevel": {"Default": "X"}}}}'
    )
    loaded = site.load()
    assert (loaded.settings, loaded.warnings) == (Settings(), ())


def test_log_category_that_begins_like_one_of_dotnet_is_kept(site: Site) -> None:
    site.write('{"Logging": {"LogLevel": {"Microsofty": "Debug"}}}')
    assert site.load().settings.logging.log_level["Microsofty"] == "Debug"


def test_unknown_section_inside_a_known_one_is_a_single_fault(site: Site) -> None:
    site.write('{"Hub": {"Kafka": {"Url": "x", "Password": "y"}}}')
    assert site.fault() == "appsettings.json:1: unknown setting 'Hub:Kafka'"


def test_key_in_the_wrong_section_suggests_the_right_section(site: Site) -> None:
    site.write('{"Hub": {"Concurrency": 4}}')
    assert site.fault() == "appsettings.json:1: unknown setting 'Hub:Concurrency'; did you mean 'Worker:Concurrency'?"


def test_misspelt_word_of_a_choice_suggests_the_nearest(site: Site) -> None:
    assert site.fault(environ={"WebSocket__Confirmation": "akc"}).endswith(
        "must be one of auto, ack, fence, heartbeat, none; did you mean 'ack'?"
    )


def test_missing_key_of_a_list_element_names_the_origin_of_its_other_keys(site: Site) -> None:
    assert site.fault(environ={"Http__ApiKeys__0__Name": "me"}) == (
        "Http:ApiKeys:0:Sha256 (from environment variable Http__ApiKeys__0__Name): is required"
    )


SECRET = "pa55word-that-nobody-may-see"
OTHER_ELEMENT = {"Http__ApiKeys__0__Name": "me"}


@pytest.mark.parametrize(
    ("environ", "key"),
    [
        ({"Hub__Jwt__Key": SECRET}, "Hub:Jwt:Key"),
        ({"Http__ApiKeys__0__Sha256": SECRET, **OTHER_ELEMENT}, "Http:ApiKeys:0:Sha256"),
        ({"Queue__ConnectionString": SECRET}, "Queue:ConnectionString"),
        ({"WebSocket__Headers__X-A": f"{SECRET}\n"}, "WebSocket:Headers:X-A"),
    ],
)
def test_fault_of_a_secret_does_not_show_it(site: Site, environ: dict[str, str], key: str) -> None:
    fault = site.fault(environ=environ)
    assert fault.startswith(f"{key} = *** (from environment variable ")
    assert SECRET not in fault


def test_fault_of_a_misplaced_argument_does_not_show_it(site: Site) -> None:
    environ = {"WebSocket__Token__x": SECRET, "WebSocket__Tokenn": SECRET, "WebSocket__Url": f"ftp://me:{SECRET}@hub"}
    faults = site.faults("--WebSocket:Token", "--", SECRET, environ=environ)
    assert len(faults) == 6
    assert SECRET not in "\n".join(faults)


def test_secret_in_an_argument_gives_a_warning(site: Site) -> None:
    (warning,) = site.warnings(f"--WebSocket:Token={SECRET}")
    assert warning.startswith("command line --WebSocket:Token: every user of this machine can see arguments")
    assert SECRET not in warning


@pytest.mark.parametrize(
    ("text", "mode", "warned"),
    [
        ('{"WebSocket": {"Token": "x"}}', 0o644, True),
        ('{"WebSocket": {"Headers": {"X-A": "x"}}}', 0o604, True),
        ('{"WebSocket": {"Token": "x"}}', 0o640, False),
        ('{"WebSocket": {"Token": null}}', 0o644, False),
        ('{"WebSocket": {"Url": "http://x"}}', 0o644, False),
    ],
)
def test_world_readable_file_with_secrets_gives_a_warning(site: Site, text: str, mode: int, warned: bool) -> None:
    site.write(text).chmod(mode)
    expected = [
        "appsettings.json: holds secrets and every user of this machine can read it; chmod o-r appsettings.json"
    ]
    assert site.warnings() == (expected if warned else [])


def test_fault_of_a_variable_with_line_breaks_in_its_name_is_one_line(site: Site) -> None:
    fault = site.fault(environ={"WebSocket__Url\x1b[31m\nroot": "x"})
    assert "\n" not in fault
    assert "\x1b" not in fault


def test_value_that_is_not_unicode_is_a_printable_fault(site: Site) -> None:
    fault = site.fault(environ={"Queue__Path": "a\udcff"})
    assert fault.encode().endswith(b"must be valid Unicode text")


# -- rules between settings --------------------------------------------------------------------------------------------


def test_verify_tls_false_is_a_fault_except_in_development(site: Site) -> None:
    environ = {"WebSocket__VerifyTls": "false"}
    assert site.fault(environ=environ) == (
        "WebSocket:VerifyTls = false (from environment variable WebSocket__VerifyTls): "
        "is allowed in Development only, and this is Production; name the server's authority in CaFile"
    )
    assert site.load(environ=environ, environment="Development").settings.web_socket.verify_tls is False


def test_anonymous_clients_of_the_hub_are_a_fault_except_in_development(site: Site) -> None:
    environ = {"Hub__Anonymous": "true"}
    assert site.fault(environ=environ) == (
        "Hub:Anonymous = true (from environment variable Hub__Anonymous): "
        "is allowed in Development only, and this is Production: give the clients tokens"
    )
    assert site.load(environ=environ, environment="Development").settings.hub.anonymous is True


@pytest.mark.parametrize(("written", "value"), [("/worker", "/worker"), ("/a/b-c/", "/a/b-c"), ("/", ""), ("", "")])
def test_path_base_has_no_slash_at_its_end(site: Site, written: str, value: str) -> None:
    assert site.load(environ={"Http__PathBase": written}).settings.http.path_base == value


@pytest.mark.parametrize("written", ["worker", "//host", "/a//b", "/a/../b", "/.", "/a?b", "/a b", "/ก"])
def test_path_base_that_is_not_a_plain_path_is_a_fault(site: Site, written: str) -> None:
    assert "must be a path such as /worker" in site.fault(environ={"Http__PathBase": written})


@pytest.mark.parametrize(
    "written", ["hr.example", "ftp://hr.example", "https://", "https://hr.example?a", "https://u@hr.example"]
)
def test_public_url_that_is_not_a_plain_address_is_a_fault(site: Site, written: str) -> None:
    assert "PublicUrl" in site.fault(environ={"Http__PublicUrl": written})


def test_public_url_has_no_slash_at_its_end(site: Site) -> None:
    loaded = site.load(environ={"Http__PublicUrl": "https://hr.example/worker/"})
    assert loaded.settings.http.public_url == "https://hr.example/worker"


@pytest.mark.parametrize(
    ("base", "cap"),
    [
        ("WebSocket:ReconnectionDelay", "WebSocket:MaxReconnectionDelay"),
        ("Worker:BackoffDelay", "Worker:MaxBackoffDelay"),
    ],
)
def test_maximum_delay_below_the_first_delay_is_a_fault(site: Site, base: str, cap: str) -> None:
    fault = site.fault(f"--{base}=2000", f"--{cap}=1000")
    assert fault == f"{cap} = 1000 (from command line --{cap}): must be >= {base} = 2000 (from command line --{base})"
    site.load(f"--{base}=2000", f"--{cap}=2000")


def test_maximum_delay_at_its_default_is_named_as_default_in_the_fault(site: Site) -> None:
    assert "MaxReconnectionDelay = 30000 (default): must be >=" in site.fault("--WebSocket:ReconnectionDelay=30001")


def test_rule_across_settings_is_skipped_for_a_value_with_a_fault(site: Site) -> None:
    assert len(site.faults("--WebSocket:ReconnectionDelay=60000", "--WebSocket:MaxReconnectionDelay=x")) == 1


@pytest.mark.parametrize(
    ("names", "number", "reason"),
    [
        (["a", "b", "a"], 2, "is the name of another key as well"),
        (["Dept 7", "dept  7"], 1, "is the name of another key as well"),
        (["dept", "ｄｅｐｔ"], 1, "is the name of another key as well"),
        (["admin"], 0, "could be mistaken for another caller"),
        (["x", " LOCAL "], 1, "could be mistaken for another caller"),
        (["Development"], 0, "could be mistaken for another caller"),
        (["user ann"], 0, "could be mistaken for another caller"),
        (["User  ann"], 0, "could be mistaken for another caller"),
        (["key:a"], 0, "could be mistaken for another caller"),
        (["a\nb"], 0, "printable characters"),
        (["a\u202eb"], 0, "printable characters"),
        (["  "], 0, "printable characters"),
        (["x" * 201], 0, "printable characters"),
    ],
)
def test_key_name_that_could_mean_another_caller_is_a_fault(
    site: Site, names: list[str], number: int, reason: str
) -> None:
    keys = [{"Name": name, "Sha256": f"{index:064x}"} for index, name in enumerate(names)]
    site.write(json.dumps({"Http": {"ApiKeys": keys}}))
    fault = site.fault()
    assert fault.startswith(f"Http:ApiKeys:{number}:Name")
    assert reason in fault


def test_key_with_the_digest_of_another_key_is_a_fault(site: Site) -> None:
    keys = [{"Name": name, "Sha256": digest * 32} for name, digest in (("a", "ab"), ("b", "AB"))]
    site.write(json.dumps({"Http": {"ApiKeys": keys}}))
    assert "is the digest of another key as well" in site.fault()


def test_connection_string_with_sqlite_is_a_fault(site: Site) -> None:
    assert "provider sqlite has the name of its file in Queue:Path" in site.fault(
        environ={"Queue__ConnectionString": "Server=x"}
    )


@pytest.mark.parametrize(
    "url",
    ["http://0.0.0.0:80", "http://*:80", "http://+:80", "http://[::]:80", "http://10.0.0.1", "http://hub.example:80"],
)
def test_listener_beyond_loopback_without_a_trusted_proxy_is_a_fault(site: Site, url: str) -> None:
    assert "refuses to start" in site.fault(f"--Http:Url={url}")
    assert "refuses to start" in site.fault(f"--Http:Url={url}", environment="Development")
    assert site.load(f"--Http:Url={url}", "--Http:TrustedProxies:0=10.0.0.0/8").settings.http.url == url


def test_admin_url_with_the_same_port_or_beyond_loopback_is_a_fault(site: Site) -> None:
    url = "--Http:Url=http://127.0.0.1:8080"
    assert "must have a different port" in site.fault(url, "--Http:AdminUrl=http://127.0.0.1:8080")
    assert "must have a different port" in site.fault(
        "--Http:Url=http://127.0.0.1", "--Http:AdminUrl=http://127.0.0.2:80"
    )
    assert "refuses to start" in site.fault(url, "--Http:AdminUrl=http://0.0.0.0:8081")
    assert site.load(url, "--Http:AdminUrl=http://127.0.0.1:8081").settings.http.admin_url == "http://127.0.0.1:8081"
    assert site.load("--Http:Url=http://127.0.0.1:0", "--Http:AdminUrl=http://127.0.0.1:0").settings.http.admin_url


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://127.9.9.9:1", "http://[::1]:1", "http://localhost:1"])
def test_listener_on_loopback_without_a_proxy_is_valid(site: Site, url: str) -> None:
    assert site.load(f"--Http:Url={url}").settings.http.url == url


@pytest.mark.parametrize("network", ["0.0.0.0/0", "::/0"])
def test_trusting_every_proxy_gives_a_warning(site: Site, network: str) -> None:
    (warning,) = site.warnings(f"--Http:TrustedProxies:0={network}")
    assert "trusts every client" in warning


@pytest.mark.parametrize("url", ["http://hub.example", "ws://10.1.2.3:8080/chat", "HTTP://[2001:db8::1]"])
@pytest.mark.parametrize("name", ["Token", "TokenFile", "Headers", "Query"])
def test_secret_to_a_plain_http_server_on_the_network_gives_a_warning(site: Site, url: str, name: str) -> None:
    value = {"Headers": {"X-Key": SECRET}, "Query": {"room": SECRET}}.get(name, SECRET)
    site.write(json.dumps({"WebSocket": {"Url": url, name: value}})).chmod(0o600)
    (warning,) = site.warnings()
    assert f"WebSocket:{name}" in warning
    assert "crosses the network in the clear" in warning
    assert name == "TokenFile" or SECRET not in warning


@pytest.mark.parametrize("url", ["https://hub.example", "wss://hub.example", "http://127.0.0.1:80", "ws://localhost"])
def test_secret_to_an_encrypted_or_local_server_gives_no_warning(site: Site, url: str) -> None:
    target = {"Url": url.replace("ws", "http", 1), "Headers": {"X-Key": SECRET}}
    settings = {"WebSocket": {"Url": url, "Token": SECRET}, "Handlers": {"Http": {"Allow": [target]}}}
    site.write(json.dumps(settings)).chmod(0o600)
    assert site.warnings() == []


def test_secret_header_of_a_plain_http_target_gives_a_warning(site: Site) -> None:
    target = {"Url": "http://payroll.internal/x", "Headers": {"X-Key": SECRET}}
    site.write(json.dumps({"Handlers": {"Http": {"Allow": [target]}}})).chmod(0o600)
    (warning,) = site.warnings()
    assert "Handlers:Http:Allow:0:Headers" in warning
    assert "crosses the network in the clear" in warning
    assert SECRET not in warning


@pytest.mark.parametrize("kind", ["http", "command"])
def test_execution_of_http_and_command_other_than_async_is_a_fault(site: Site, kind: str) -> None:
    assert f"Worker:Execution:{kind} = process" in site.fault(f"--Worker:Execution:{kind}=process")
    assert site.load(f"--Worker:Execution:{kind}=async").settings.worker.execution == {kind: "async"}


def test_two_programs_with_one_name_are_a_fault(site: Site) -> None:
    site.write('{"Handlers": {"Command": {"Programs": [{"Name": "a", "Path": "/a"}, {"Name": "a", "Path": "/b"}]}}}')
    assert "Handlers:Command:Programs:1:Name = a" in site.fault()


# -- properties over all keys ------------------------------------------------------------------------------------------

SPECIAL: Mapping[str, str] = {
    "WebSocket:Url": "https://hub:99",
    "WebSocket:Path": "/other",
    "WebSocket:Namespace": "/org",
    "WebSocket:Proxy": "http://proxy:3128",
    "WebSocket:Transports:0": "polling",
    "Http:Url": "http://127.0.0.1:99",
    "Http:AdminUrl": "http://127.0.0.1:98",
    "Queue:Retention": "1000",
    "HostOptions:ShutdownTimeout": "12.5",
    "Hub:Jwt:Key": "k" * 32,
    "Hub:SigningSecret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "Hub:AdminUi:Namespace": "/watch",
    "Hub:Namespaces:0": "/hr",
    "Hub:WhenFull": "close-oldest",
    "Hub:HeartbeatInterval": "12.5",
    "Hub:HeartbeatTimeout": "12.5",
    "Hub:Jwt:ClockSkew": "12.5",
    "Http:PathBase": "/worker",
    "Http:PublicUrl": "https://hr.example/worker",
}
WITHOUT_A_SECOND_VALUE = {"Queue:Provider", "Queue:ConnectionString", "WebSocket:VerifyTls", "Hub:Anonymous"}


def _another_value(key: str, row_value: Any) -> str:
    """Draw a value that is valid and not the default."""
    if key in SPECIAL:
        return SPECIAL[key]
    words = {
        "WebSocket:Confirmation": "ack",
        "WebSocket:EngineIo": "3",
        "Hub:Enabled": "true",
        "Insignia:Sequence": "strict_next",
    }
    words |= {"Logging:Console:FormatterName": "Json", "Logging:LogLevel:Default": "Debug"}
    words |= {"HostOptions:BackgroundServiceExceptionBehavior": "Ignore", "Hub:Redis": "redis://elsewhere:1"}
    if key in words:
        return words[key]
    if isinstance(row_value, bool):
        return str(not row_value)
    if isinstance(row_value, int | float):
        return str(row_value + 1)
    return "something-else"


def _values(site: Site, **options: Any) -> dict[str, Any]:
    return {row.key: row.value for row in rows(site.load(**options))}


def _overridable(site: Site) -> dict[str, str]:
    found = {key: _another_value(key, value) for key, value in _values(site).items() if value not in ([], {})}
    return {key: value for key, value in found.items() if key not in WITHOUT_A_SECOND_VALUE}


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_any_single_variable_changes_exactly_one_leaf(site: Site, data: st.DataObject) -> None:
    others = _overridable(site)
    in_file = data.draw(st.sets(st.sampled_from(sorted(others))))
    chosen = data.draw(st.sampled_from(sorted(set(others) - in_file) or sorted(others)))
    in_file.discard(chosen)
    lines = ",\n".join(f'"{key}": "{others[key]}"' for key in sorted(in_file))
    site.write(f"{{\n{lines}\n}}")
    before = _values(site)
    after = _values(site, environ={chosen.replace(":", "__"): others[chosen]})
    # WebSocket:Url follows the port of Http:Url while no one has set it.
    follows = {"WebSocket:Url"} if chosen == "Http:Url" and "WebSocket:Url" not in in_file else set()
    assert {key for key in before | after if before.get(key) != after.get(key)} - follows == {chosen}
    (site.here / "appsettings.json").unlink()


def _all_keys() -> list[KeyPath]:
    return [path for path, key in walk(shape_of(Settings)) if len(path) > 1]


LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEXYZ0189"


@st.composite
def _misspelt(draw: st.DrawFn, word: str, most: int = 2) -> str:
    """Draw the word after one or two edits: a letter added, removed, replaced, or two swapped."""
    for _ in range(draw(st.integers(1, most))):
        at = draw(st.integers(0, len(word) - 1))
        letter = draw(st.sampled_from(LETTERS))
        more, less, other = (
            word[:at] + letter + word[at:],
            word[:at] + word[at + 1 :],
            word[:at] + letter + word[at + 1 :],
        )
        swapped = word[:at] + word[at : at + 2][::-1] + word[at + 2 :]
        word = draw(st.sampled_from([more, other, swapped, *([less] if len(word) > 1 else [])]))
    return word


def _siblings(path: KeyPath) -> set[str]:
    section = shape_of(Settings)
    for segment in path[:-1]:
        if segment == "N":
            continue
        shape = section.keys[str(segment).lower()].shape
        inner = shape.item if isinstance(shape, ListOf) else shape
        assert isinstance(inner, SectionShape)
        section = inner
    return set(section.keys)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_typo_of_two_edits_in_any_key_suggests_the_right_key(site: Site, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(_all_keys()))
    wrong = data.draw(_misspelt(str(path[-1])).filter(lambda word: word.lower() not in _siblings(path)))
    parent = key_text(path[:-1]).replace(":N", ":0")
    with pytest.raises(ConfigError) as caught:
        site.load(f"--{parent}:{wrong}=x")
    assert f"'{parent}:{path[-1]}'" in str(caught.value.problems[0]).partition("did you mean")[2]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_typo_of_two_edits_in_a_section_of_a_file_suggests_the_right_section(site: Site, data: st.DataObject) -> None:
    sections = shape_of(Settings).keys
    section = data.draw(st.sampled_from([key.name for key in sections.values()]))
    wrong = data.draw(_misspelt(section).filter(lambda word: word.lower() not in sections))
    site.write(f'{{"{wrong}": {{"Key": 1}}}}')
    assert f"'{section}'" in site.warnings()[0].partition("did you mean")[2]


# -- the result --------------------------------------------------------------------------------------------------------


def test_load_twice_returns_the_same_and_writes_nothing(site: Site) -> None:
    site.write('{"WebSocket": {"Url": "http://file"}}')
    first = site.load()
    before = sorted(site.folder.rglob("*"))
    second = site.load()
    assert (first.settings, first.origins) == (second.settings, second.origins)
    assert sorted(site.folder.rglob("*")) == before
    assert not first.state_dir.exists()


def test_origins_of_loaded_settings_cannot_be_changed(site: Site) -> None:
    with pytest.raises(TypeError):
        site.load().origins["WebSocket:Url"] = None  # type: ignore[index]  # read-only, as the test shows
