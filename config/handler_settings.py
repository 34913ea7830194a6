"""The settings of the job kinds `http` and `command`: what their jobs may call or run."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from config.types import (
    AbsolutePath,
    AnyCase,
    Bytes,
    CallPrefix,
    ExitCode,
    HeaderName,
    HeaderValue,
    Milliseconds,
    Network,
    Pattern,
    Section,
    VariableName,
)


class HttpTargetSettings(Section):
    """Addresses that jobs of kind http may call, and the headers to send there."""

    url: CallPrefix = Field(
        description="Prefix of the addresses, such as https://api.example/hooks/; matches whole parts of the path"
    )
    headers: Mapping[HeaderName, HeaderValue] = Field(
        default_factory=dict, description="Headers that are sent only there; the place for keys and tokens"
    )
    networks: tuple[Network, ...] = Field(
        (), description="Private networks that the host may be in, such as 10.0.0.0/8; else only public addresses"
    )


class HttpHandlerSettings(Section):
    """Jobs of kind http."""

    allow: tuple[HttpTargetSettings, ...] = Field(
        (), description="Addresses that may be called; empty: the kind is off"
    )
    timeout: Milliseconds = Field(30000, gt=0, description="Longest time for one call, including redirects")
    max_answer: Bytes = Field(
        65536, ge=0, le=4 * 1024**2, description="How much of a response body is kept; the rest is not read"
    )
    max_redirects: int = Field(
        5, ge=0, le=20, description="Most redirects that are followed; each address must be allowed"
    )
    ca_file: str | None = Field(
        None, description="PEM file of certificate authorities to trust instead of the system's"
    )


class ProgramSettings(Section):
    """A program that jobs of kind command may run."""

    name: str = Field(min_length=1, max_length=100, description="Name of the program in payloads")
    path: AbsolutePath = Field(description="Absolute path of the program")
    arguments: tuple[str, ...] = Field((), description="Arguments that precede those of the payload")
    patterns: tuple[Pattern, ...] = Field(
        (), description="Regular expressions that the payload's arguments must match completely, one for each position"
    )
    max_arguments: int | None = Field(
        None,
        ge=0,
        le=1000,
        description="Most arguments in the payload; the last pattern applies to all further ones",
    )
    folder: AbsolutePath = Field("/", description="Absolute path of the working directory")
    environment: Mapping[VariableName, str] = Field(
        default_factory=dict, description="Environment variables of the program"
    )
    secrets: Mapping[VariableName, SecretStr] = Field(
        default_factory=dict,
        description="Environment variables whose values are hidden everywhere, including in its output",
    )
    inherit: tuple[VariableName, ...] = Field(
        (), description="Environment variables of the service that are passed on; no others are"
    )
    variables: tuple[VariableName, ...] = Field((), description="Environment variables that the payload may set")
    stdin: bool = Field(False, description="Let the payload provide standard input")
    encoding: Annotated[Literal["utf-8", "cp874"], AnyCase()] = Field(
        "utf-8", description="Encoding of its input and output"
    )
    timeout: Milliseconds = Field(3600000, gt=0, description="Longest run; a shorter Worker:Timeout applies")
    success_codes: tuple[ExitCode, ...] = Field((0,), description="Exit codes that mean success")
    retry_codes: tuple[ExitCode, ...] = Field((75,), description="Exit codes that lead to another attempt")


class CommandHandlerSettings(Section):
    """Jobs of kind command."""

    programs: tuple[ProgramSettings, ...] = Field((), description="Programs that may be run; empty: the kind is off")
    max_output: Bytes = Field(
        65536,
        ge=256,
        le=4 * 1024**2,
        description="How much of stdout and of stderr is kept: the first and the last half of it",
    )
    grace: Milliseconds = Field(
        1500, ge=0, le=10000, description="Time between SIGTERM and SIGKILL when a job is cancelled or takes too long"
    )


class HandlersSettings(Section):
    """The job kinds that need no Python. Both are off until something is allowed."""

    http: HttpHandlerSettings = Field(HttpHandlerSettings(), description="Jobs of kind http: call a URL")
    command: CommandHandlerSettings = Field(CommandHandlerSettings(), description="Jobs of kind command: run a program")
