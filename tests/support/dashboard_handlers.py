"""Kinds of jobs for trying the dashboard: one that goes on, one that ends well, one that fails."""

import asyncio
from pathlib import Path

from pydantic import BaseModel, Field

from worker.handler import Context, handler


class Letter(BaseModel):
    text: str = Field("", description="What is written")
    until: str = ""
    """A file: the job goes on until it is there."""


@handler("letters.send", timeout=600)
async def send(payload: Letter, context: Context) -> dict[str, object]:
    steps = 0
    while not Path(payload.until or "/").exists():
        steps += 1
        context.progress(min(90.0, steps), payload.text)
        await asyncio.sleep(0.05)
    return {"text": payload.text}


@handler("letters.lose")
async def lose(payload: Letter) -> None:
    raise ValueError(payload.text)
