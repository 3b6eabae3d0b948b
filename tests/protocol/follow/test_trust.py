"""Trust grows slowly, and is lost at once."""

from __future__ import annotations

from airflow_provider_enos.protocol.follow.trust import Trust


def test_trust_grows_with_confirmations_and_is_lost_at_once() -> None:
    trust = Trust(10)
    assert trust.level == 1.0
    trust.confirm(4)
    assert trust.level == 5.0
    trust.confirm(100)
    assert trust.level == 10.0
    trust.fail()
    assert trust.level == 1.0


def test_trust_is_harder_to_regain_after_each_failure() -> None:
    trust = Trust(10)
    for _ in range(3):
        trust.confirm(9)
        trust.fail()
    trust.confirm(9)
    assert trust.level < 2.0


def test_a_source_that_is_sometimes_wrong_is_hardly_trusted() -> None:
    trust, levels = Trust(10), []
    for number in range(10_000):
        trust.confirm()
        if number % 50 == 0:
            trust.fail()
        levels.append(trust.level)
    assert sum(levels[5000:]) / 5000 < 2.0


def test_a_source_that_is_right_for_long_is_forgiven() -> None:
    trust = Trust(10)
    for _ in range(10):
        trust.fail()
    trust.confirm(5000)
    assert trust.level == 10.0
    trust.fail()
    trust.confirm(5000)
    assert trust.level == 10.0


def test_trust_can_begin_at_its_maximum() -> None:
    assert Trust(40, start=40).level == 40
