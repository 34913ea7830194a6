"""The settings page says in Thai what each setting is for."""

import inspect
import json
import re
import typing
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from config.settings import Settings

_WORDS = Path(__file__).parents[2] / "worker/api/static/dashboard/i18n/settings-th.js"


def models(annotation: object) -> Iterator[type[BaseModel]]:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for part in typing.get_args(annotation):
        yield from models(part)


def descriptions(model: type[BaseModel]) -> Iterator[str]:
    """Yield the description of each setting, of elements of lists too; not those of sections, which are not shown."""
    for info in model.model_fields.values():
        below = list(models(info.annotation))
        if below[:1] != [info.annotation]:
            yield info.description or ""
        for part in below:
            yield from descriptions(part)


def test_each_setting_has_a_thai_description_and_none_is_left_over() -> None:
    lines = re.findall(r"^  (\".+\"): (\".+\"),$", _WORDS.read_text("utf-8"), re.MULTILINE)
    words = {json.loads(english): json.loads(thai) for english, thai in lines}
    assert set(words) == set(descriptions(Settings))
    assert all(re.search("[ก-๛]", thai) for thai in words.values())
