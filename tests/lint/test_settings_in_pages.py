"""Settings that a page for newcomers names exist."""

import re

import pytest

from config.schema import KnownKey, locate, shape_of
from config.settings import Settings
from tests.support.repository import ROOT

_KEY = re.compile(r"`((?:WebSocket|Worker|Queue|Hub|Http|Insignia|Uploads|HostOptions)(?:(?::|__)\w+)+)`")
_OF_DOTNET = {"HostOptions:ServicesStartConcurrently", "HostOptions:ServicesStopConcurrently"}
"""Named because they are ignored."""


@pytest.mark.parametrize("page", ["migrating-from-csharp.md", "operations.md"])
def test_settings_that_a_page_names_exist(page: str) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    keys = {key.replace("__", ":") for key in _KEY.findall(text)} - _OF_DOTNET
    missing = [
        key for key in sorted(keys) if not isinstance(locate(shape_of(Settings), tuple(key.split(":"))), KnownKey)
    ]

    assert keys
    assert missing == []
