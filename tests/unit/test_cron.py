"""Cron lines: what is refused, and when the others fire."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops.pipelines import cron

NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)  # a Wednesday


@pytest.mark.parametrize(
    ("line", "fires"),
    [
        ("17 3 * * *", datetime(2026, 3, 5, 3, 17)),
        ("*/30 * * * *", datetime(2026, 3, 4, 12, 30)),
        ("0 12 * * *", datetime(2026, 3, 5, 12, 0)),  # after, not at
        ("5 4 * * SUN", datetime(2026, 3, 8, 4, 5)),
        ("0 0 1 JAN *", datetime(2027, 1, 1)),
        ("0 0 29 2 *", datetime(2028, 2, 29)),
        ("0 0 13 * FRI", datetime(2026, 3, 6)),  # either is enough
        ("0 8-18/2 * * 1-5", datetime(2026, 3, 4, 14, 0)),
        ("59 23 31 12 *", datetime(2026, 12, 31, 23, 59)),
    ],
)
def test_the_next_time(line: str, fires: datetime) -> None:
    assert cron.problem(line) == ""
    assert cron.after(line, NOON) == fires.replace(tzinfo=UTC)


def test_a_moment_elsewhere_is_the_same_moment() -> None:
    there = NOON.astimezone(timezone(timedelta(hours=9)))
    assert cron.after("17 3 * * *", there) == datetime(2026, 3, 5, 3, 17, tzinfo=UTC)


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


@given(
    st.integers(0, 59), st.integers(0, 23), st.integers(1, 28), st.integers(1, 12), st.datetimes()
)
def test_what_fires_is_what_the_line_says(
    minute: int, hour: int, day: int, month: int, moment: datetime
) -> None:
    now = moment.replace(year=2026, tzinfo=UTC) if moment.day < 29 else NOON
    found = cron.after(f"{minute} {hour} {day} {month} *", now)
    assert (found.minute, found.hour, found.day, found.month) == (minute, hour, day, month)
    assert now < found <= now + timedelta(days=366)
