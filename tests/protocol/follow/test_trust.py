"""Trust that is earned, and lost at once."""

from __future__ import annotations

from airflow_provider_enos.protocol.follow.trust import Trust


def test_it_grows_with_what_confirms_it_and_is_lost_at_once() -> None:
    trust = Trust(10)
    assert trust.level == 1.0
    trust.confirm(4)
    assert trust.level == 5.0
    trust.confirm(100)
    assert trust.level == 10.0
    trust.fail()
    assert trust.level == 1.0


def test_it_is_harder_to_regain() -> None:
    trust = Trust(10)
    for _ in range(3):
        trust.confirm(9)
        trust.fail()
    trust.confirm(9)
    assert trust.level < 2.0


def test_who_is_wrong_now_and_then_stays_near_no_trust() -> None:
    trust, levels = Trust(10), []
    for number in range(10_000):
        trust.confirm()
        if number % 50 == 0:
            trust.fail()
        levels.append(trust.level)
    assert sum(levels[5000:]) / 5000 < 2.0


def test_it_is_forgiven_in_the_end() -> None:
    trust = Trust(10)
    for _ in range(10):
        trust.fail()
    trust.confirm(5000)
    assert trust.level == 10.0
    trust.fail()
    trust.confirm(5000)
    assert trust.level == 10.0


def test_it_can_begin_with_all_of_it() -> None:
    assert Trust(40, start=40).level == 40
