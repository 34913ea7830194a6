"""By what jobs are chosen, whether to be listed or to be ordered about."""

from typing import Annotated

from pydantic import Field

from worker.control import Moment
from worker.door.routes import Query, Text
from worker.queue import JobQuery


class Chosen(Query):
    """What a job must be like; each route says besides which states it takes."""

    task_type: Text | None = None
    user_id: Text | None = None
    organization: Text | None = None
    text: Text | None = None
    """Anywhere in id, user, payload, error or result."""
    created_from: Annotated[Moment | None, Field(alias="from")] = None
    """Created then or later."""
    created_to: Annotated[Moment | None, Field(alias="to")] = None
    """Created before."""

    def wanted(self) -> JobQuery:
        """As the store's query, in any state."""
        return JobQuery(
            kind=self.task_type,
            user_ids=None if self.user_id is None else (self.user_id,),
            organizations=None if self.organization is None else (self.organization,),
            text=self.text,
            since=None if self.created_from is None else self.created_from.timestamp(),
            until=None if self.created_to is None else self.created_to.timestamp(),
        )
