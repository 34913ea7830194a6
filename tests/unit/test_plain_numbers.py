"""Numbers from outside: no spelling that only Python reads."""

import orjson
import pytest
from pydantic import BaseModel, ValidationError

from worker.api.request_values import Number, Seconds
from worker.api.routes.insignia import ExistingQuery
from worker.errors import InvalidPayload
from worker.runtime.job_request import parse_request

ODD = ["1_0", "+1", " 1", "1 ", "1\n", "๑๐", "１", "²", "0x1", "", "-", "1.", ".5", "nan", "inf"]


class Asked(BaseModel):
    number: Number = 0
    seconds: Seconds = 0.0


@pytest.mark.parametrize("field", ["number", "seconds"])
@pytest.mark.parametrize("text", ODD)
def test_spelling_that_only_python_reads_is_rejected(field: str, text: str) -> None:
    with pytest.raises(ValidationError, match=r"is not a (whole )?number"):
        Asked.model_validate({field: text})


@pytest.mark.parametrize(
    ("text", "value"), [("10", 10.0), ("0.5", 0.5), ("-1", -1.0), ("1e1", 10.0), ("007", 7.0), ("1" + "0" * 40, 1e40)]
)
def test_number_as_json_has_it_is_read(text: str, value: float) -> None:
    assert Asked.model_validate({"seconds": text}).seconds == value


def test_round_with_underscores_is_rejected_and_an_ordinary_one_is_read() -> None:
    assert ExistingQuery.model_validate({"round": "2569", "userId": "u"}).round == 2569
    for text in ("2_569", "+2569", "๒๕๖๙", "2399", "2701"):
        with pytest.raises(ValidationError):
            ExistingQuery.model_validate({"round": text, "userId": "u"})


def test_attempts_of_a_job_as_text_with_underscores_are_rejected() -> None:
    job = {"taskType": "echo", "userId": "u"}
    assert parse_request(orjson.dumps({**job, "maxAttempts": "10"})).max_attempts == 10
    with pytest.raises(InvalidPayload, match="maxAttempts"):
        parse_request(orjson.dumps({**job, "maxAttempts": "1_0"}))
