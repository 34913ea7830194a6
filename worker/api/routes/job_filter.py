"""The conditions by which jobs are selected, for lists and for bulk requests."""

from typing import Annotated

from pydantic import Field

from worker.api.request_values import Query, Text
from worker.core.store import JobQuery
from worker.runtime.job_request import Moment


class JobFilterQuery(Query):
    """Conditions that a job must meet; each route adds the statuses it takes."""

    task_type: Text | None = None
    user_id: Text | None = None
    organization: Text | None = None
    text: Text | None = None
    """Anywhere in id, user, payload, error or result."""
    created_from: Annotated[Moment | None, Field(alias="from")] = None
    """Created at this time or later."""
    created_to: Annotated[Moment | None, Field(alias="to")] = None
    """Created before this time."""

    def job_query(self) -> JobQuery:
        """Return the conditions as the store's query, in any state."""
        return JobQuery(
            kind=self.task_type,
            user_ids=None if self.user_id is None else (self.user_id,),
            organizations=None if self.organization is None else (self.organization,),
            text=self.text,
            since=None if self.created_from is None else self.created_from.timestamp(),
            until=None if self.created_to is None else self.created_to.timestamp(),
        )
