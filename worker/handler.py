"""What a handler is, and how handlers are found. A registration is a value: nothing here is global."""

import asyncio
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal, Protocol

import orjson
from pydantic import BaseModel, ValidationError

from worker.errors import DuplicateHandler, HandlersUnusable, InvalidPayload

Execution = Literal["async", "thread", "process"]
"""async: a coroutine in the service's loop. thread: a plain function in a thread of its own; it cannot be
cancelled, only left behind. process: a spawned child process that can be killed; for CPU-heavy or foreign code."""


class Context(Protocol):
    """What a handler is given beside its payload."""

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
        """Whether the job should stop: a plain function asks now and then."""
        ...

    def progress(self, percent: float, note: str = "") -> None:
        """Tell how far the job is, 0 to 100; cheap, throttled by the receiver."""
        ...


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
    """The settings section it is handed as context.settings."""
    module: str = ""
    """Where a child process finds it."""
    takes_context: bool = False
    check: "Check | None" = None
    """What the settings allow of a payload that fits the model."""
    files: tuple[str, ...] = ()
    """Fields of the payload that take the path of an uploaded file."""
    grace: float | None = None
    """Seconds it may take to stop when its job is cancelled or timed out; None: the executor's own."""
    settled: "AfterSettling | None" = None
    """What may be done once an attempt's success is on disk, such as to delete what it replaces."""

    def validate(self, payload: bytes) -> BaseModel:
        """The payload as its model; InvalidPayload names every field that does not fit."""
        try:
            return self.payload.model_validate_json(payload)
        except ValidationError as exc:
            raise InvalidPayload(f"payload of {self.kind}: {explain(exc)}") from None

    def admit(self, payload: bytes, settings: Any) -> None:
        """Intake's question: does it fit the model, and do these settings allow it? InvalidPayload says why not."""
        model = self.validate(payload)
        if self.check is not None:
            self.check(model, settings)


Check = Callable[[Any, Any], None]
"""Takes a payload and the handler's settings section (or None); raises InvalidPayload."""

AfterSettling = Callable[[bytes | None, Any], None]
"""Takes the result and the handler's settings section (or None), in a thread of the service. It may never be called, if
the service dies first; what it raises is told and harms nothing."""

Registry = Mapping[str, Handler]


def handler(
    kind: str,
    *,
    execution: Execution | None = None,
    timeout: float | None = None,
    section: str | None = None,
    check: Check | None = None,
    files: tuple[str, ...] = (),
    grace: float | None = None,
    settled: AfterSettling | None = None,
) -> Callable[[Callable[..., Any]], Handler]:
    """Turn a function `(payload: Model)` or `(payload: Model, context)` into a Handler value.

    Without `execution`, coroutine functions run in the loop and plain ones in a thread.
    """

    def register(function: Callable[..., Any]) -> Handler:
        is_async = inspect.iscoroutinefunction(function)
        chosen: Execution = execution or ("async" if is_async else "thread")
        if chosen == "async" and not is_async:
            raise TypeError(f"{kind}: execution='async' needs an `async def`")
        if chosen == "thread" and is_async:
            raise TypeError(f"{kind}: execution='thread' needs a plain `def`")
        return Handler(
            kind,
            _payload_model(kind, function),
            function,
            chosen,
            timeout,
            section,
            function.__module__,
            _has_room(function),
            check,
            files,
            grace,
            settled,
        )

    return register


def _payload_model(kind: str, function: Callable[..., Any]) -> type[BaseModel]:
    parameters = list(inspect.signature(function, eval_str=True).parameters.values())
    model = parameters[0].annotation if parameters else None
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise TypeError(f"{kind}: the first parameter must be annotated with a pydantic model")
    return model


def _has_room(function: Callable[..., Any]) -> bool:
    return len(inspect.signature(function).parameters) > 1


def call(handler: Handler, payload: BaseModel, context: Context) -> Any:
    """Call the function with what it takes: the payload, and the context if it has room for it."""
    return handler.run(payload, context) if handler.takes_context else handler.run(payload)


def call_to_its_end(handler: Handler, payload: BaseModel, context: Context) -> Any:
    """Call it from a thread or process of its own, where a coroutine function is given a loop of its own."""
    result = call(handler, payload, context)
    return asyncio.run(result) if asyncio.iscoroutine(result) else result


def encode_result(result: object) -> bytes | None:
    """A handler's return value as JSON; None stays None. TypeError: it is no JSON."""
    if result is None:
        return None
    if isinstance(result, BaseModel):
        return result.model_dump_json(by_alias=True).encode()
    return orjson.dumps(result)


def discover(modules: Iterable[ModuleType | str]) -> Registry:
    """The handlers of these modules and of the modules inside packages, by kind."""
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


def _expand(modules: Iterable[ModuleType | str]) -> Iterable[ModuleType]:
    for entry in modules:
        module = _named(entry) if isinstance(entry, str) else entry
        yield module
        for info in pkgutil.iter_modules(getattr(module, "__path__", [])):
            yield importlib.import_module(f"{module.__name__}.{info.name}")


def _named(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as exc:
        raise HandlersUnusable(
            f"Worker:Handlers names {name!r}, which cannot be imported: {type(exc).__name__}: {exc}"
        ) from exc


def explain(exc: ValidationError) -> str:
    """One line for all faults: field, what is wrong. Values are left out: they may be people's data."""
    faults = [f"{'.'.join(str(part) for part in error['loc']) or 'payload'}: {error['msg']}" for error in exc.errors()]
    more = f" (and {len(faults) - 10} more)" if len(faults) > 10 else ""
    return "; ".join(faults[:10]) + more
