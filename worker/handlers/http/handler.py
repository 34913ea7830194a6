"""The kind `http`: calls a URL; the response is the job's result. Off until Handlers:Http:Allow names a URL.

The address is checked after every redirect and after the name was resolved, and the connection goes to exactly the
address that was checked. Secrets come from the settings of the target they belong to, never from the payload.
"""

from typing import Any

from config.handler_settings import HandlersSettings
from worker.handler import Context, handler
from worker.handlers.http.allow_list import parse_url, target_of
from worker.handlers.http.payload import HttpPayload
from worker.handlers.http.request import call


def check(payload: HttpPayload, settings: HandlersSettings | None) -> None:
    """Raise InvalidPayload if the kind is off or the URL is not allowed."""
    target_of(parse_url(payload.url), (settings or HandlersSettings()).http.allow)


@handler("http", section="Handlers", check=check)
async def call_url(payload: HttpPayload, context: Context) -> dict[str, Any]:
    """Call the URL. 2xx succeeds, a temporary failure is retried, any other response is final."""
    return await call(payload, (context.settings or HandlersSettings()).http, context)
