"""Fifty writers of one account: nobody waits for ever, nobody is refused, nothing is lost or given twice."""

from pathlib import Path

from crowd import crowd, findings


def test_fifty_writers_of_one_account(tmp_path: Path) -> None:
    reports = crowd(tmp_path, writers=50, rounds=4)
    assert findings(tmp_path, reports) == []
    assert sum(report.finished for report in reports) == 50
    assert sum(len(report.seconds["delivery"]) for report in reports if "delivery" in report.seconds) == 100
    assert sum(report.removed for report in reports) == 25
