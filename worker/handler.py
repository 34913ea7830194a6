"""Defines handlers and finds them. A registration is a value: there is no global registry."""

import asyncio
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Literal, Protocol

import orjson
from pydantic import BaseModel, ValidationError

from worker.errors import DuplicateHandler, HandlersUnusable, InvalidPayload

Execution = Literal["async", "thread", "process"]
"""async: a coroutine in the service's event loop. thread: a plain function in a thread of its own, which can be
abandoned but not cancelled. process: a child process, which can be killed; for CPU-heavy or third-party code."""


class Context(Protocol):
    """What a handler receives next to its payload."""

    @property
    def job_id(self) -> str: ...
    @property
    def user_id(self) -> str: ...
    @property
    def attempt(self) -> int: ...
    @property
    def settings(self) -> Any:
        """The handler's settings section, or None."""
        ...

    @property
    def cancelled(self) -> bool:
        """Whether the job should stop; a plain function has to check this from time to time."""
        ...

    def progress(self, percent: float, note: str = "") -> None:
        """Report progress, 0 to 100 percent. Cheap: the receiver throttles it."""
        ...


class FileCheck(Protocol):
    """Checks the content of one uploaded file while it arrives; called in a thread, one piece after the other."""

    def feed(self, data: bytes) -> None:
        """Check the next piece. Raises WrongContent, which ends the upload."""
        ...

    def finish(self) -> str | None:
        """Check the end; return the suffix to store the file with, or None to keep its own. Raises WrongContent."""
        ...


StartFileCheck = Callable[[str], FileCheck]
"""Takes the file's name, for messages, and returns the check of its content."""

Check = Callable[[Any, Any], None]
"""Takes a payload and the handler's settings section (or None); raises InvalidPayload."""

AfterSettling = Callable[[bytes | None, Any], str | None]
"""Takes the result and the handler's settings section (or None), in a thread of the service; returns a sentence for the
log, or None. It is not called if the service dies before it. An exception is logged and changes nothing else."""


@dataclass(frozen=True, slots=True)
class Handler:
    """Code for a kind of job."""

    kind: str
    payload: type[BaseModel]
    run: Callable[..., Any]
    execution: Execution
    timeout: float | None = None
    """Seconds for one attempt; None: Worker:Timeout."""
    section: str | None = None
    """The settings section passed as context.settings."""
    module: str = ""
    """Where a child process finds the handler."""
    takes_context: bool = False
    check: Check | None = None
    """Refuses payloads that fit the model but that the settings do not allow."""
    files: Mapping[str, StartFileCheck | None] = field(default_factory=dict, hash=False)
    """Fields of the payload that take the path of an uploaded file, each with the check of its content; None: any
    content is accepted and the file keeps its name."""
    grace: float | None = None
    """Seconds the handler may take to stop when its job is cancelled or timed out; None: the executor's own."""
    settled: AfterSettling | None = None
    """Called once an attempt's success is on disk, for example to delete what it replaces."""
    movable: bool = True
    """Whether a child process can run it, as it does after the service has crashed twice while the job ran."""

    def validate(self, payload: bytes) -> BaseModel:
        """Return the payload as its model. Raises InvalidPayload, which names every field that does not fit."""
        try:
            return self.payload.model_validate_json(payload)
        except ValidationError as exc:
            text, text_th = f"payload of {self.kind}: {explain(exc)}", f"ข้อมูลของงานไม่ถูกต้องในช่อง {_fields(exc)}"
            raise InvalidPayload(text).localized("invalid_payload", text_th) from None

    def admit(self, payload: bytes, settings: Any) -> None:
        """Check a payload at intake against the model and then the settings. Raises InvalidPayload."""
        model = self.validate(payload)
        if self.check is not None:
            self.check(model, settings)


Registry = Mapping[str, Handler]


def handler(
    kind: str,
    *,
    execution: Execution | None = None,
    timeout: float | None = None,
    section: str | None = None,
    check: Check | None = None,
    files: Mapping[str, StartFileCheck | None] | Sequence[str] = (),
    grace: float | None = None,
    settled: AfterSettling | None = None,
    movable: bool = True,
) -> Callable[[Callable[..., Any]], Handler]:
    """Turn a function `(payload: Model)` or `(payload: Model, context)` into a Handler value.

    Without `execution`, coroutine functions run in the event loop and plain functions in a thread. `files` names the
    payload fields that take an uploaded file, with a check of the content for those that need one. `movable=False` says
    that a child process cannot run it, for example because it needs objects of the service. Raises TypeError where the
    function does not fit.
    """

    def register(function: Callable[..., Any]) -> Handler:
        return Handler(
            kind=kind,
            payload=_payload_model(kind, function),
            run=function,
            execution=_execution(kind, function, execution),
            timeout=timeout,
            section=section,
            module=function.__module__,
            takes_context=_takes_context(function),
            check=check,
            files=dict(files) if isinstance(files, Mapping) else dict.fromkeys(files),
            grace=grace,
            settled=settled,
            movable=movable,
        )

    return register


def _execution(kind: str, function: Callable[..., Any], wanted: Execution | None) -> Execution:
    is_async = inspect.iscoroutinefunction(function)
    execution: Execution = wanted or ("async" if is_async else "thread")
    if execution == "async" and not is_async:
        raise TypeError(f"{kind}: execution='async' needs an `async def`")
    if execution == "thread" and is_async:
        raise TypeError(f"{kind}: execution='thread' needs a plain `def`")
    return execution


def _payload_model(kind: str, function: Callable[..., Any]) -> type[BaseModel]:
    parameters = list(inspect.signature(function, eval_str=True).parameters.values())
    model = parameters[0].annotation if parameters else None
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise TypeError(f"{kind}: the first parameter must be annotated with a pydantic model")
    return model


def _takes_context(function: Callable[..., Any]) -> bool:
    return len(inspect.signature(function).parameters) > 1


def call(handler: Handler, payload: BaseModel, context: Context) -> Any:
    """Call the function with the payload, and with the context if it takes one."""
    return handler.run(payload, context) if handler.takes_context else handler.run(payload)


def call_blocking(handler: Handler, payload: BaseModel, context: Context) -> Any:
    """Call the function in the current thread; a coroutine runs in an event loop of its own."""
    result = call(handler, payload, context)
    return asyncio.run(result) if asyncio.iscoroutine(result) else result


def encode_result(result: object) -> bytes | None:
    """Return a handler's return value as JSON; None stays None. Raises TypeError for a value that JSON cannot hold."""
    if result is None:
        return None
    if isinstance(result, BaseModel):
        return result.model_dump_json(by_alias=True).encode()
    return orjson.dumps(result)


def discover(modules: Iterable[ModuleType | str]) -> Registry:
    """Return the handlers of these modules by kind; a package stands for all modules below it, at any depth.

    Raises DuplicateHandler, and HandlersUnusable for a module that cannot be imported.
    """
    found: dict[str, Handler] = {}
    for module in _expand(modules):
        for value in vars(module).values():
            if not isinstance(value, Handler) or value.module != module.__name__:
                continue
            if value.kind in found and found[value.kind] is not value:
                raise DuplicateHandler(
                    f"two handlers for kind {value.kind!r}: {found[value.kind].module} and {value.module}"
                )
            found[value.kind] = value
    return found


def _expand(modules: Iterable[ModuleType | str]) -> Iterator[ModuleType]:
    for entry in modules:
        module = _named(entry) if isinstance(entry, str) else entry
        yield module
        inside = (info.name for info in pkgutil.iter_modules(getattr(module, "__path__", [])))
        # Importing __main__ would run the package.
        yield from _expand(f"{module.__name__}.{name}" for name in inside if name != "__main__")


def _named(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as exc:
        raise HandlersUnusable(
            f"Worker:Handlers names {name!r}, which cannot be imported: {type(exc).__name__}: {exc}"
        ) from exc


_SHOWN = 100
"""Characters of a name in a payload that an error message shows."""


def _fields(exc: ValidationError) -> str:
    """Return the names of the fields that do not fit."""
    names = (".".join(str(part)[:_SHOWN] for part in one["loc"]) for one in exc.errors(include_url=False)[:10])
    return ", ".join(dict.fromkeys(name or "payload" for name in names))


def explain(exc: ValidationError, whole: str = "payload: ") -> str:
    """Return one line that names each field and its fault. Values are left out, as they may be personal data.

    A fault of the whole begins with `whole`.
    """
    errors = exc.errors(include_url=False, include_context=False, include_input=False)
    shown = [_place(one["loc"], whole) + fault_text(one["msg"]) for one in errors[:10]]
    more = f" (and {len(errors) - 10} more)" if len(errors) > 10 else ""
    return "; ".join(shown) + more


def _place(path: tuple[int | str, ...], whole: str) -> str:
    return ".".join(str(part)[:_SHOWN] for part in path) + ": " if path else whole


def fault_text(message: str) -> str:
    """Return a message of pydantic without the words that it puts before those of a validator."""
    return message.removeprefix("Value error, ")
