"""The last that was heard of each job of late, for those who come to watch one. Knows no client."""

from collections import OrderedDict
from typing import Final

from worker.hub.news import News

_JOBS: Final = 1024
_BYTES: Final = 16 * 1024
"""A longer word is not kept."""


class LastWords:
    """By job; the longest unheard of is forgotten first."""

    def __init__(self) -> None:
        self._words: OrderedDict[str, News] = OrderedDict()

    def of(self, job_id: str) -> News | None:
        return self._words.get(job_id)

    def remember(self, job_id: str, news: News) -> None:
        if len(news.body) > _BYTES:
            return
        self._words[job_id] = news
        self._words.move_to_end(job_id)
        if len(self._words) > _JOBS:
            self._words.popitem(last=False)
