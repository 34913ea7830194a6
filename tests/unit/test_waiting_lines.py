"""How much one claim does while lines wait because of limits."""

from tests.support.stores import START, a_job
from worker.core.claim_rules import ClaimRules, Limit
from worker.stores.sqlite import waiting
from worker.stores.sqlite.waiting import WaitingLines

KINDS = 5000


def test_claim_sets_aside_a_bounded_number_of_lines_of_one_user() -> None:
    lines = WaitingLines(lambda: 0.0)
    lines.use(ClaimRules(limits=[Limit("user", "ann", running=0)]), frozenset())
    jobs = [a_job(user="ann", kind=f"kind-{number}") for number in range(KINDS)] + [a_job(user="bob")]
    lines.queue([(line, (START, seq)) for seq, line in enumerate(lines.lines_of(jobs))])

    def parked() -> int:
        return sum(line.parked_by is not None for line in lines.by_id.values())

    claims = 0
    while not (chosen := lines.choose(1)):
        claims += 1
        assert parked() <= claims * waiting._MOST_PARKED
    assert [line.user_id for line, _ in chosen] == ["bob"]
    assert claims <= KINDS // waiting._MOST_PARKED + 1
