"""Every kind of hostile reply, to every operation, through both drivers: none stops, fills or holds up a process.

The kinds are those of ``tests/support/hostile_bodies.py``; ``benchmarks/hostile_replies.py`` prints what each costs.
"""

from __future__ import annotations

import inspect
import time
from dataclasses import replace

import hostile
import pytest
from hostile import Cost
from hostile_bodies import DRIP, KINDS, MIB, OPERATION_OF

from airflow_provider_enos.protocol.bounded_json import LIMITS, LIMITS_OF_A_PAGE, LIMITS_OF_A_TASK
from airflow_provider_enos.protocol.wire import calls

STOP = 0.1
"""Seconds for which nothing else may run."""
REFERENCE = 0.05
"""Seconds that ``work`` takes on the machine that the limits were measured on, on one that is slow about it."""
SMALL = MIB // 3
"""Of a reply to every operation: there are hundreds of them."""
LIMITS_OF = {"aiohttp": LIMITS, "requests": LIMITS_OF_A_TASK, "view": LIMITS_OF_A_PAGE}
LARGE = 34 * MIB
OPERATIONS = [
    name
    for name, function in vars(calls).items()
    if inspect.isfunction(function)
    and function.__module__ == calls.__name__
    and not name.startswith("_")
    and name not in ("refresh_token", "authenticate")
]
"""All that there are. Refreshing a token is read as getting one."""


def work() -> object:
    """Something that takes its time, in Python and in C."""
    return sorted(str(number * 7919 % 100_003) for number in range(100_000))


def seconds_of_work() -> float:
    found = []
    for _ in range(3):
        begun = time.process_time()
        work()
        found.append(time.process_time() - begun)
    return min(found)


@pytest.fixture(scope="module")
def slowness() -> float:
    """Return how much slower this machine is than the machine on which the limits were measured; at least 1."""
    return max(1.0, seconds_of_work() / REFERENCE)


def plan(driver: str) -> list[tuple[str, int, list[str]]]:
    """Small replies to every operation, the largest that are read to one operation each, and a few larger ones."""
    kinds = [kind for kind in KINDS if kind != DRIP]
    fitting = LIMITS_OF[driver].size - MIB // 16
    return [
        (DRIP, 0, ["get_flow_instance"]),
        *((kind, SMALL, OPERATIONS) for kind in kinds if driver != "view"),
        *((kind, fitting, [OPERATION_OF.get(kind, "get_flow_instance")]) for kind in kinds),
        *((kind, LARGE, ["get_flow_instance"]) for kind in ("empty lists", "a long log", "gzip: empty lists")),
    ]


@pytest.fixture(scope="module", params=LIMITS_OF)
def costs(request: pytest.FixtureRequest, slowness: float) -> tuple[str, list[Cost]]:
    """Return what each reply of the plan costs; of what seems to stop a process, the cheapest of three."""
    driver, replies = request.param, plan(request.param)
    alone = [(kind, size, [name]) for kind, size, names in replies for name in names]
    with hostile.gateway() as port:
        found = hostile.costs(driver, port, replies)
        assert [(cost.kind, cost.operation) for cost in found] == [(kind, name) for kind, _, [name] in alone]
        for number, cost in enumerate(found):
            if cost.stop > STOP * slowness:
                # A reply stops it each time; other processes that take the memory's time do so now and then.
                again = hostile.costs(driver, port, [alone[number]] * 2)
                found[number] = replace(cost, stop=min(cost.stop, *(one.stop for one in again)))
    return driver, found


def test_every_operation_is_tried() -> None:
    assert set(OPERATIONS) == set(hostile.operations())


def test_no_reply_stops_a_process(costs: tuple[str, list[Cost]], slowness: float) -> None:
    """It stops neither the triggerer's loop nor another thread, such as the loop of the API server."""
    driver, found = costs
    assert {cost.kind for cost in found} == set(KINDS)
    assert [cost for cost in found if cost.stop > STOP * slowness] == [], driver


def test_no_reply_fills_the_memory(costs: tuple[str, list[Cost]]) -> None:
    """One letter outside of the common ones makes Python take four bytes a character, in the text and in its value."""
    driver, found = costs
    assert max(found, key=lambda cost: cost.memory).memory < 14 * LIMITS_OF[driver].size / MIB + 32


def test_no_reply_takes_for_ever(costs: tuple[str, list[Cost]], slowness: float) -> None:
    _, found = costs
    assert [cost for cost in found if cost.cpu > 3 * slowness] == []
    assert [cost for cost in found if cost.kind == DRIP and cost.seconds > 10] == []


def test_each_is_read_or_refused_in_our_words(costs: tuple[str, list[Cost]]) -> None:
    _, found = costs
    said = {cost.said.partition(":")[0] for cost in found}
    assert said <= {"read", "Problem", "EnosReplyError", "EnosTransportError", "EnosNotFoundError", "EnosRequestError"}
