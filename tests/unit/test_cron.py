"""Cron lines: what is refused, and what is not."""

from __future__ import annotations

import pytest

from gitops.pipelines import cron


@pytest.mark.parametrize(
    "line",
    [
        "17 3 * * *",
        "*/30 * * * *",
        "0 12 * * *",
        "5 4 * * SUN",
        "0 0 1 JAN *",
        "0 0 29 2 *",
        "0 0 13 * FRI",
        "0 8-18/2 * * 1-5",
        "59 23 31 12 *",
    ],
)
def test_what_can_be(line: str) -> None:
    assert cron.problem(line) == ""


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "0 fields"),
        ("@daily", "1 fields"),
        ("0 0 * * * *", "6 fields"),
        ("60 0 * * *", "'60' as minute"),
        ("0 24 * * *", "'24' as hour"),
        ("0 0 0 * *", "'0' as day"),
        ("0 0 * 13 *", "'13' as month"),
        ("0 0 * * 7", "'7' as weekday"),
        ("0 0 * * MUN", "'MUN' as weekday"),
        ("0 5-3 * * *", "'5-3' as hour"),
        ("*/0 * * * *", "'*/0' as minute"),
        ("0 0 L * *", "'L' as day"),
        ("0,,5 0 * * *", "'' as minute"),
        ("0 0 30 2 *", "never fires"),
        ("0 0 31 4,6,9,11 *", "never fires"),
        ("* * * * *", "more often"),
        ("*/4 * * * *", "more often"),
        ("0,58 * * * *", "more often"),  # across the hour
        ("0,2 3 * * *", "more often"),
    ],
)
def test_what_is_wrong(line: str, said: str) -> None:
    assert said in cron.problem(line)


def test_across_the_hour_only_if_every_hour_has_it() -> None:
    assert cron.problem("0,58 3 * * *") == ""
