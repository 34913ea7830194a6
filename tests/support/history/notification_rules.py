"""Rules about notifications: one for each run, complete, unchanged, in order, and only for their user."""

from collections import defaultdict
from collections.abc import Iterator

import orjson

from tests.support.history.evidence import TERMINAL, Arrival, Evidence


def unreadable(found: Evidence) -> Iterator[str]:
    """What a receiver gets is a notification."""
    for seen in found.unreadable:
        yield f"{seen.receiver} received {seen.body[:200]!r}"


def missing(found: Evidence) -> Iterator[str]:
    """The end of each run is received, unless its notification is dead."""
    received = {arrival.id for arrival in found.arrivals}
    jobs_received = {arrival.job for arrival in found.arrivals}
    if found.arrivals:
        for stored in found.notifications:
            if stored.state == "delivered" and stored.id not in received:
                yield f"notification {stored.id} of job {stored.job} is delivered, and no receiver got it"
    if not found.is_complete:
        return
    stored_ids: dict[str, set[str]] = defaultdict(set)
    for stored in found.notifications:
        stored_ids[stored.job].add(stored.id)
        if stored.state == "pending":
            yield f"notification {stored.id} of job {stored.job} is still pending"
    undelivered = {stored.job for stored in found.notifications if stored.state != "delivered"}
    for job, end in found.jobs.items():
        if end.state not in TERMINAL:
            continue
        if found.notifications and len(stored_ids[job]) < end.run:
            yield f"job {job}, run {end.run}, has {len(stored_ids[job])} notifications"
        elif found.arrivals and job not in jobs_received | undelivered:
            yield f"job {job} is {end.state}, and no receiver got its notification"


def several_ids(found: Evidence) -> Iterator[str]:
    """A run has one notification."""
    ids: dict[str, set[str]] = defaultdict(set)
    for arrival in found.arrivals:
        ids[arrival.job].add(arrival.id)
    for stored in found.notifications:
        ids[stored.job].add(stored.id)
    for job, notification_ids in ids.items():
        runs = found.jobs[job].run if job in found.jobs else 1
        if (job in found.jobs or found.is_listed) and len(notification_ids) > runs:
            yield f"job {job}, run {runs}, has the notifications {sorted(notification_ids)}"


def shared_id(found: Evidence) -> Iterator[str]:
    """An id belongs to one job."""
    jobs: dict[str, set[str]] = defaultdict(set)
    for arrival in found.arrivals:
        jobs[arrival.id].add(arrival.job)
    for notification_id, owners in jobs.items():
        if len(owners) > 1:
            yield f"notification {notification_id} belongs to {sorted(owners)}"


def changed(found: Evidence) -> Iterator[str]:
    """A notification that is sent again is the same, apart from the numbers that it says are skipped.

    Only servers count: a hub adds what depends on the client.
    """
    bodies: dict[tuple[str, int], set[str]] = defaultdict(set)
    for arrival in found.arrivals:
        if arrival.seen.user is None:
            bodies[arrival.id, arrival.redelivery].add(_without_skipped(arrival))
    for (notification_id, _), different in bodies.items():
        if len(different) > 1:
            yield f"notification {notification_id} was sent as {sorted(body[:160] for body in different)}"


def _without_skipped(arrival: Arrival) -> str:
    if "skipped" not in arrival.payload:
        return arrival.seen.body
    event, message, user = orjson.loads(arrival.seen.body)
    del message["payload"]["skipped"]
    return orjson.dumps([event, message, user]).decode()


def contradiction(found: Evidence) -> Iterator[str]:
    """A notification says what the job says."""
    for arrival in found.arrivals:
        end = found.jobs.get(arrival.job)
        if end is None or end.run != 1 or end.state not in TERMINAL:
            continue
        payload = arrival.payload
        said = (payload["status"], payload["attempt"], arrival.message["success"])
        right = end.state == "succeeded"
        if said != ("success" if right else "failed", end.attempt, right):
            yield f"job {end.job} is {end.state} after attempt {end.attempt}, {arrival.seen.receiver} received {said}"
        elif end.state == "cancelled" and payload.get("error") != "Cancelled":
            yield f"job {end.job} is cancelled, {arrival.seen.receiver} received {payload.get('error')!r}"


def another_user(found: Evidence) -> Iterator[str]:
    """A user receives what is addressed to that user, and a notification is addressed to the job's user."""
    for arrival in found.arrivals:
        owner, listener = found.owner_of(arrival.job), arrival.seen.user
        if len({owner or arrival.user, listener or arrival.user, arrival.user}) > 1:
            yield (
                f"{arrival.seen.receiver} (user {listener}) received job {arrival.job} of {owner}, "
                f"addressed to {arrival.user}"
            )


def gap(found: Evidence) -> Iterator[str]:
    """A user's numbers arrive without gaps, apart from dead notifications and those that were sent again by hand."""
    skipped = {(one.user, one.sequence) for one in found.notifications if one.state == "dead"}
    skipped |= {(arrival.user, arrival.sequence) for arrival in found.arrivals if arrival.redelivery}
    for arrival, highest in _with_highest(found):
        between = range(highest + 1, arrival.sequence)
        if not arrival.seen.partial and any((arrival.user, number) not in skipped for number in between):
            yield f"{arrival.seen.receiver}: user {arrival.user} gets {arrival.sequence} after {highest}"


def out_of_order(found: Evidence) -> Iterator[str]:
    """A user's numbers arrive in order: what arrives after a higher number has arrived before, or was sent by hand.

    A notification that a server does not confirm is sent to it again after later ones.
    """
    for receiver, arrivals in found.by_receiver().items():
        numbers: dict[str, set[int]] = defaultdict(set)
        highest: dict[str, int] = defaultdict(int)
        for arrival in arrivals:
            known = numbers[arrival.user]
            if not arrival.redelivery and arrival.sequence < highest[arrival.user] and arrival.sequence not in known:
                yield f"{receiver}: user {arrival.user} gets {arrival.sequence} after {highest[arrival.user]}"
            known.add(arrival.sequence)
            highest[arrival.user] = max(highest[arrival.user], arrival.sequence)


def repeated(found: Evidence) -> Iterator[str]:
    """A receiver that drops repetitions shows each number once."""
    for arrival, highest in _with_highest(found):
        if arrival.seen.drops_repeats and arrival.sequence <= highest:
            yield f"{arrival.seen.receiver}: user {arrival.user} gets {arrival.sequence} again"


def number_used_twice(found: Evidence) -> Iterator[str]:
    """A user's number belongs to one notification."""
    owners: dict[tuple[str, int], set[str]] = defaultdict(set)
    for arrival in found.arrivals:
        owners[arrival.user, arrival.sequence].add(arrival.id)
    for stored in found.notifications:
        owners[stored.user, stored.sequence].add(stored.id)
    for (user, sequence), ids in owners.items():
        if len(ids) > 1:
            yield f"user {user}, number {sequence}: {sorted(ids)}"


def sent_without_lease(found: Evidence) -> Iterator[str]:
    """A service that is cut off from the store sends nothing after its lease, until it is back."""
    for away in found.away:
        if away.lease is None:
            continue
        for sent in found.sent:
            if sent.process == away.process and away.since + away.lease < sent.at < away.until:
                yield (
                    f"process {sent.process} sent notification {sent.id} {sent.at - away.since:.1f} s after it was "
                    f"cut off, with a lease of {away.lease:g} s"
                )


def _with_highest(found: Evidence) -> Iterator[tuple[Arrival, int]]:
    """Yield arrivals that count for the order, with the highest number that its user got at this receiver before."""
    for arrivals in found.by_receiver().values():
        highest: dict[str, int] = {}
        for arrival in arrivals:
            if not arrival.redelivery:
                yield arrival, highest.get(arrival.user, 0)
                highest[arrival.user] = max(highest.get(arrival.user, 0), arrival.sequence)
