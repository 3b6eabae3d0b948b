"""In which zone times without a zone are. ``test_clock.py`` of the view has the moments that follow."""

from __future__ import annotations

from datetime import datetime

import pytest

from airflow_provider_enos.protocol.follow.time_zone import minute_of_id, zone_of_times

ID = "3377-20200706062600"
NOW = datetime.fromisoformat("2020-07-06T06:40:00+00:00").timestamp()


@pytest.mark.parametrize(
    ("times", "named", "name"),
    [
        (["2020-07-06 14:27:10", "2020-07-06 14:30:00"], "GMT+8", "GMT+8"),
        (["2020-07-06 06:27:10"], "GMT+8", "UTC"),
        (["2020-07-06 06:27:10"], "GMT-5", "UTC"),
        (["2020-07-06 01:27:10"], "GMT-5", "GMT-5"),
        (["2020-07-06 02:27:10"], "GMT+8", None),
        (["2020-07-06 14:27:10"], "", None),
        (["2020-07-06 14:27:10"], "Mars/Olympus", None),
    ],
)
def test_the_zone_of_times(times: list[str], named: str, name: str | None) -> None:
    found = zone_of_times([datetime.fromisoformat(one) for one in times], ID, named, NOW)
    assert (found and found[0]) == name


def test_the_minute_of_an_id() -> None:
    assert minute_of_id(ID) == datetime.fromisoformat("2020-07-06T06:26:00+00:00").timestamp()
    assert minute_of_id("3377-2020070606") is None
