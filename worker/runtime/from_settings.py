"""Values of the core made from settings, which the core itself does not know."""

from collections.abc import Iterable

from config.link_settings import WebSocketSettings
from config.settings import WorkerSettings
from worker.core.claim_rules import ClaimRules, Limit
from worker.core.notification import NotificationFormat
from worker.core.outcome import RetryPolicy


def retry_policy(settings: WorkerSettings) -> RetryPolicy:
    """Return when failed attempts are repeated."""
    return RetryPolicy(settings.backoff_delay / 1000, cap=settings.max_backoff_delay / 1000)


def claim_rules(settings: WorkerSettings, kinds: Iterable[str]) -> ClaimRules:
    """Return the rules for a worker that has handlers for these kinds."""
    limits = [
        Limit(one.scope, one.name, one.running, one.waiting, one.per_minute, one.waiting_bytes)
        for one in settings.limits
    ]
    return ClaimRules(frozenset(kinds), limits)


def notification_format(settings: WebSocketSettings) -> NotificationFormat:
    """Return what a notification contains and how large it may be."""
    return NotificationFormat(
        settings.event, settings.max_payload, settings.include_stack_trace, settings.include_result
    )


def error_pause(settings: WebSocketSettings) -> float:
    """Return for how many seconds a loop pauses after an unexpected error."""
    return settings.task_delay_on_error / 1000
