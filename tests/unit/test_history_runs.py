"""Which runs a fixture judges."""

from pathlib import Path

from tests.support.history.recorder import Recorder
from tests.support.history.runs import forget_ended, judge_ended_services, note_service


class EndedService:
    """A service that another test has started and ended."""

    is_running = False

    def __init__(self, state: Path) -> None:
        self.state = state
        self.history = Recorder()


def test_ended_service_is_judged_once(tmp_path: Path) -> None:
    forget_ended()
    note_service(EndedService(tmp_path))
    assert len(judge_ended_services()) == 1
    assert judge_ended_services() == []


def test_service_that_ended_before_the_test_is_not_judged(tmp_path: Path) -> None:
    note_service(EndedService(tmp_path))
    forget_ended()
    assert judge_ended_services() == []
