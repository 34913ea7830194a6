"""Each alert has a row in docs/operations.md that says what to do."""

import re

from tests.support.repository import ROOT


def test_every_alert_has_a_row_that_says_what_to_do() -> None:
    rules = (ROOT / "deploy" / "prometheus-alerts.yml").read_text(encoding="utf-8")
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    alerts = re.findall(r"- alert: (\w+)", rules)
    rows = re.findall(r"^\| `(InsigniaWorker\w+)` \| [^|]+ \| [^|]+ \|$", page, re.MULTILINE)

    assert alerts
    assert sorted(rows) == sorted(alerts)
