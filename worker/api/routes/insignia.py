"""Routes of the insignia job: the rows of a result, and labels for the codes in them."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NotRequired, cast

from aiohttp import web
from pydantic import BeforeValidator, Field
from typing_extensions import TypedDict

from worker.api.auth.authenticator import CALLER
from worker.api.errors import json_response
from worker.api.request_values import Limit, Number, Query, Text, query_of
from worker.api.routes.files import FindJob, JobPaths
from worker.api.routing import Route
from worker.api.schemas import response
from worker.core.clock import rfc3339
from worker.core.plain_numbers import plain_integer
from worker.errors import NotFound
from worker.handlers.insignia.results import InsigniaResults
from worker.insignia import RowQuery
from worker.insignia.rules.explain import ExplanationLine


class RowsQuery(Query):
    """Which rows of an insignia job, and from where to continue."""

    show: Literal["review", "nominate", "notEligible", "uncertain", "all"] = "all"
    """By the decision; `uncertain`: a rule of less than high confidence was applied."""
    of: Literal["class", "medal"] | None = None
    """The decision that the filters apply to. Default: the class, or the medal when `class` is a medal's code."""
    award: Annotated[Text | None, Field(alias="class")] = None
    """The code of a class or medal, such as CT5."""
    reason: Text | None = None
    text: Text | None = None
    """Words that occur in the id, the name, the post, the office, or the decision's id."""
    cursor: Number | None = None
    skip: Number = 0
    """How many of the matching rows to leave out: for a page by its number."""
    limit: Limit = 50


# `class` is a keyword: this shape needs the functional form.
ResultRow = TypedDict(
    "ResultRow",
    {
        "n": int,
        "person_id": str,
        "class": dict[str, str],
        "medal": dict[str, str],
        "uncertain": NotRequired[bool],
        "title": NotRequired[str],
        "first_name": NotRequired[str],
        "last_name": NotRequired[str],
        "sex": NotRequired[str],
        "post": NotRequired[str],
        "office": NotRequired[str],
        "next_round": NotRequired[int],
        "decision_id": NotRequired[str],
    },
)
ResultRow.__doc__ = "One officer with both decisions; keys that do not apply are absent."
response(ResultRow)


@response
class ExplanationSentence(TypedDict):
    """One sentence of an explanation."""

    about: Literal["class", "medal"]
    kind: Literal["decision", "missing", "question", "rule", "step", "condition", "outlook"]
    text: str
    answer: Literal["yes", "no", "unknown"] | None
    """Of a question or condition: whether the officer meets it."""


@response
class CriteriaUsed(TypedDict):
    """Which criteria a round was evaluated by."""

    file: str
    version: str
    sha256: str
    """Of the file `criteria.json` among the job's files."""


@response
class RowExplanation(TypedDict):
    """One officer's decisions, decided again from what was stored, and why."""

    row: ResultRow
    round: int
    sequence: str
    criteria: CriteriaUsed
    sameAnswer: bool
    """Whether the stored data and criteria give the stored decision again."""
    th: list[ExplanationSentence]
    en: list[ExplanationSentence]


@response
class ReplacedResult(TypedDict):
    """A newer job of the same user, organization and round has replaced this result."""

    by: str
    """The newer job."""
    at: str
    keptUntil: str


@response
class RowList(TypedDict):
    rows: list[ResultRow]
    cursor: str | None
    matched: int
    """On all pages."""
    replaced: NotRequired[ReplacedResult]


class ExistingQuery(Query):
    """Whose results of which round."""

    round: Annotated[int, Field(ge=2400, le=2700), BeforeValidator(plain_integer)]
    """Buddhist year."""
    user_id: Text
    organization: Text | None = None


@response
class ExistingResultList(TypedDict):
    """What a new job of this user, organization and round would replace."""

    jobs: list[str]
    """Oldest first."""
    confirmed: bool
    """Whether the round is closed, so that a new job fails."""
    keepReplacedSeconds: float


@response
class CodeLabels(TypedDict):
    """What each code is called, in Thai (`th`) and English (`en`)."""

    decisions: dict[str, dict[str, str]]
    confidence: dict[str, dict[str, str]]
    reasons: dict[str, dict[str, str]]
    classes: dict[str, dict[str, str]]
    medals: dict[str, dict[str, str]]
    fields: dict[str, dict[str, str]]
    """The fields of a roster, for mapping headings."""


class RowRoutes:
    """`rows` below `/api/v1/jobs/{id}` and, for end users, below `/api/v1/me/jobs/{id}`."""

    def __init__(self, results: InsigniaResults, find_job: FindJob, paths: JobPaths | None = None) -> None:
        self._results, self._find_job, self._paths = results, find_job, paths or JobPaths()

    def routes(self) -> Sequence[Route]:
        why = "One row of an insignia job, and why it was decided so"
        return (
            self._paths.route("rows", self.rows, "Rows of an insignia job", RowList, RowsQuery),
            self._paths.route("rows/{n}", self.row, why, RowExplanation),
        )

    async def rows(self, request: web.Request) -> web.Response:
        record = await self._find_job(request)
        sent = query_of(request, RowsQuery)
        query = RowQuery(
            sent.show,
            sent.of,
            sent.award,
            sent.reason,
            sent.text,
            after=sent.cursor or 0,
            limit=sent.limit,
            skip=sent.skip,
        )
        page = await self._results.rows(record, query)
        cursor = None if page.cursor is None else str(page.cursor)
        found: RowList = {"rows": cast(list[ResultRow], page.rows), "cursor": cursor, "matched": page.matched}
        if replaced := await self._results.replacement(record):
            until = replaced.at + self._results.keep_replaced
            found["replaced"] = {"by": replaced.by, "at": rfc3339(replaced.at), "keptUntil": rfc3339(until)}
        return json_response(found)

    async def row(self, request: web.Request) -> web.Response:
        record = await self._find_job(request)
        number = request.match_info["n"]
        if not (number.isascii() and number.isdigit() and len(number) <= _LONGEST_NUMBER):
            raise NotFound(f"job {record.id} has no row {number[:50]!r}: rows are counted from 1")
        found = await self._results.explain(record, int(number))
        answer: RowExplanation = {
            "row": cast(ResultRow, found.row),
            "round": found.rules.round_be,
            "sequence": found.rules.sequence,
            "criteria": cast(CriteriaUsed, found.rules.criteria.as_json()),
            "sameAnswer": found.same_answer,
            "th": [_sentence(line) for line in found.th],
            "en": [_sentence(line) for line in found.en],
        }
        return json_response(answer)


_LONGEST_NUMBER = 9
"""Digits of a row's number."""


def _sentence(line: ExplanationLine) -> ExplanationSentence:
    return {"about": line.about, "kind": line.kind, "text": line.text, "answer": line.answer}


class LabelRoutes:
    """`/api/v1/insignia/words`."""

    def __init__(self, results: InsigniaResults) -> None:
        self._results = results

    def routes(self) -> Sequence[Route]:
        path, summary = "/api/v1/insignia/words", "Labels for the codes in insignia results, in Thai and English"
        labels: Mapping[int, type[Any]] = {200: CodeLabels}
        return (Route("GET", path, self.labels, summary, "any", answers=labels, surface="public", bound=True),)

    async def labels(self, _request: web.Request) -> web.Response:
        return json_response(await self._results.words(), headers={"Cache-Control": "private, max-age=300"})


class ExistingResultRoutes:
    """`/api/v1/insignia/existing`."""

    def __init__(self, results: InsigniaResults) -> None:
        self._results = results

    def routes(self) -> Sequence[Route]:
        path, summary = "/api/v1/insignia/existing", "The results that a new job of a round would replace"
        answers: Mapping[int, type[Any]] = {200: ExistingResultList}
        return (Route("GET", path, self.existing, summary, "enqueue", ExistingQuery, answers=answers, bound=True),)

    async def existing(self, request: web.Request) -> web.Response:
        sent = query_of(request, ExistingQuery)
        if not request[CALLER].owns(sent.user_id, sent.organization):
            raise web.HTTPForbidden(text="this key is bound to other users or organisations")
        existing = await self._results.existing(sent.user_id, sent.organization, sent.round)
        found: ExistingResultList = {
            "jobs": existing.jobs,
            "confirmed": existing.is_confirmed,
            "keepReplacedSeconds": self._results.keep_replaced,
        }
        return json_response(found)
