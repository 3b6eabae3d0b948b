"""However many look at an instance, EnOS is asked now and then; what goes wrong is said in words for viewers."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import Connection

from airflow_provider_enos.client import settings
from airflow_provider_enos.plugins.view import lookups as module
from airflow_provider_enos.plugins.view.lookups import FRESH, FRESH_ENDED, FRESH_PROBLEM, Lookups, Problem, Seen, Source
from airflow_provider_enos.simulator import EnosSimulator

GRAPH = {"tasks": {1: "ingest", 2: "clean", 3: "publish"}, "relations": [(1, 2), (2, 3)], "logs": {1: "read 7 rows"}}


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def looked_at(sim: EnosSimulator) -> Source:
    """A running instance: its first node has ended, its second one runs."""
    sim.add_flow(8101, name="readings", progress="manual", **GRAPH)
    instance = sim.trigger(8101)
    sim.set_node_status(instance.id, 1, "SUCCESS")
    sim.set_node_status(instance.id, 2, "RUNNING")
    return Source("enos_default", None, None, None, instance.id)


@pytest.fixture
def settings_of(sim: EnosSimulator) -> Callable[[Source], settings.Settings]:
    def read(source: Source) -> settings.Settings:
        extra = {"org_id": sim.org_id, "user_id": sim.user_id, "console_url": "https://console/{flow_instance_id}"}
        return settings.read(
            Connection(
                conn_id=source.conn_id,
                conn_type="enos",
                host=sim.url,
                login=sim.access_key,
                password=sim.secret_key,
                extra=json.dumps(extra),
            )
        )

    return read


@pytest.fixture
def run(clock: Clock, settings_of: Callable[[Source], settings.Settings]) -> Callable[..., Any]:
    """Runs what is given the look-ups on an event loop of its own."""

    def run_it(play: Callable[[Lookups], Coroutine[Any, Any, Any]]) -> Any:
        async def all_of_it() -> Any:
            return await play(Lookups(settings_of, clock))

        return asyncio.run(all_of_it())

    return run_it


Runner = Callable[[Callable[[Lookups], Coroutine[Any, Any, Any]]], Any]


def test_what_it_sees(run: Runner, looked_at: Source) -> None:
    seen = run(lambda lookups: lookups.instance(looked_at))
    assert isinstance(seen, Seen)
    assert [(edge.source, edge.target) for edge in seen.graph.relations] == [("t_1", "t_2"), ("t_2", "t_3")]
    assert [node.status.name for node in seen.graph.instance.nodes if node.status] == ["SUCCESS", "RUNNING", "INIT"]
    assert seen.link == f"https://console/{looked_at.flow_instance_id}"
    assert not seen.ended


def test_times_are_asked_for_of_nodes_that_have_started_and_once(
    run: Runner, sim: EnosSimulator, looked_at: Source, clock: Clock
) -> None:
    async def play(lookups: Lookups) -> Seen:
        for _ in range(3):
            seen = await lookups.instance(looked_at)
            clock.now += FRESH + 1
        return seen  # type: ignore[return-value]

    seen = run(play)
    assert sim.count("flowInstances/get") == 3
    # The first node has no end in the simulator before its instance has one, so it is asked for again.
    asked = [record for record in sim.requests if record.operation == "taskInstances/get"]
    assert 2 <= len(asked) <= 6
    assert set(seen.runs) >= {looked_at.flow_instance_id.replace("8101", "2", 1)}


def test_fifty_tabs_ask_once(run: Runner, sim: EnosSimulator, looked_at: Source) -> None:
    async def play(lookups: Lookups) -> list[Any]:
        return list(await asyncio.gather(*(lookups.instance(looked_at) for _ in range(50))))

    answers = run(play)
    assert sim.count("flowInstances/get") == 1
    assert len({id(answer) for answer in answers}) == 1


@pytest.mark.parametrize(("ends", "fresh"), [(False, FRESH), (True, FRESH_ENDED)])
def test_an_answer_is_given_again_for_a_while(
    run: Runner, sim: EnosSimulator, looked_at: Source, clock: Clock, ends: bool, fresh: float
) -> None:
    if ends:
        sim.set_node_status(looked_at.flow_instance_id, 2, "SUCCESS")
        sim.finish(looked_at.flow_instance_id, "SUCCESS")

    async def play(lookups: Lookups) -> list[int]:
        asked = []
        for step in (0, fresh - 0.5, 1.0):
            clock.now += step
            await lookups.instance(looked_at)
            asked.append(sim.count("flowInstances/get"))
        return asked

    assert run(play) == [1, 1, 2]


def test_one_who_goes_away_does_not_take_the_answer_of_the_others_along(
    run: Runner, sim: EnosSimulator, looked_at: Source
) -> None:
    async def play(lookups: Lookups) -> Any:
        first = asyncio.create_task(lookups.instance(looked_at))
        second = asyncio.create_task(lookups.instance(looked_at))
        await asyncio.sleep(0)
        first.cancel()
        return await second

    assert isinstance(run(play), Seen)
    assert sim.count("flowInstances/get") == 1


def test_a_gateway_that_hangs_holds_up_nobody_for_long(
    run: Runner, sim: EnosSimulator, looked_at: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONGEST_LOOK", 0.5)
    sim.hold(on="flowInstances/get", at="received", times=None)
    sources = [looked_at] + [Source("enos_default", None, None, None, f"8101-2026010{n}000000") for n in range(1, 9)]

    async def play(lookups: Lookups) -> tuple[list[Any], float]:
        start = asyncio.get_running_loop().time()
        answers = list(await asyncio.gather(*(lookups.instance(source) for source in sources)))
        return answers, asyncio.get_running_loop().time() - start

    answers, took = run(play)
    sim.clear_holds()
    assert [answer.message for answer in answers] == ["EnOS takes too long to answer."] * len(sources)
    assert took < 5
    assert len([record for record in sim.requests if record.operation == "flowInstances/get"]) <= module.AT_A_TIME


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("http_503", "EnOS answered: 503"),
        ("internal_error", "EnOS answered: 62109"),
        ("dropped", "EnOS does not answer at the moment."),
        ("not_json", "cannot be read"),
        ("graph_not_json", "cannot be read"),
        ("http_401", "EnOS does not accept the key"),
        ("http_403", "EnOS does not let the user"),
        ("http_429", "asked too often"),
        ("secret_echo", "EnOS"),
    ],
)
def test_a_problem_is_said_to_viewers_without_details(
    run: Runner, sim: EnosSimulator, looked_at: Source, fault: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    sim.fault(fault, on="flowInstances/get", times=None)
    with caplog.at_level(logging.WARNING):
        problem = run(lambda lookups: lookups.instance(looked_at))
    assert isinstance(problem, Problem)
    assert said in problem.message
    for secret in (sim.access_key, sim.secret_key, sim.url, sim.user_id, sim.org_id):
        assert secret not in problem.message
    assert looked_at.flow_instance_id in caplog.text
    assert sim.secret_key not in caplog.text


def test_an_instance_that_is_not_there(run: Runner, sim: EnosSimulator) -> None:
    problem = run(lambda lookups: lookups.instance(Source("c", None, None, None, "8101-20200101000000")))
    assert problem.message == "EnOS has nothing by this id, or not yet."


def test_a_connection_that_cannot_be_read(looked_at: Source, clock: Clock) -> None:
    """Whatever a secrets back-end raises, the page says something, and nothing of what was raised."""

    def broken(source: Source) -> settings.Settings:
        raise RuntimeError("vault says: s.hunter2 is not a token")

    async def play() -> Any:
        return await Lookups(broken, clock).instance(looked_at)

    problem = asyncio.run(play())
    assert problem.message == "The connection enos_default could not be read; the API server's log says why."


def test_a_problem_is_not_asked_about_at_once_again(run: Runner, sim: EnosSimulator, clock: Clock) -> None:
    source = Source("c", None, None, None, "8101-20200101000000")

    async def play(lookups: Lookups) -> list[int]:
        asked = []
        for step in (0, FRESH_PROBLEM - 1, 2):
            clock.now += step
            await lookups.instance(source)
            asked.append(sim.count("flowInstances/get"))
        return asked

    assert run(play) == [1, 1, 2]


def test_without_times_of_nodes_all_else_is_there(
    run: Runner, sim: EnosSimulator, looked_at: Source, clock: Clock
) -> None:
    """Releases of EnOS before 2.3 have no Get Task Instance."""
    sim.fault("http_404", on="taskInstances/get", times=None)

    async def play(lookups: Lookups) -> list[Any]:
        answers = [await lookups.instance(looked_at)]
        clock.now += FRESH + 1
        return [*answers, await lookups.instance(looked_at)]

    first, second = run(play)
    assert isinstance(first, Seen)
    assert not first.runs
    assert isinstance(second, Seen)
    asked_at_first = sum(record.operation == "taskInstances/get" for record in sim.requests)
    assert asked_at_first == 2, "the second look must not ask again"


def test_logs_are_cleaned_bounded_and_asked_for_once(run: Runner, sim: EnosSimulator, looked_at: Source) -> None:
    sim.add_flow(
        8102, name="noisy", tasks={7: "n"}, logs={7: "\x1b[31mred\u202e\n" + "row\n" * 5000}, progress="at_once"
    )
    source = Source("enos_default", None, None, None, sim.trigger(8102).id)

    async def play(lookups: Lookups) -> list[Any]:
        seen = await lookups.instance(source)
        assert isinstance(seen, Seen)
        (node,) = seen.graph.instance.nodes
        return list(await asyncio.gather(*(lookups.log(source, node) for _ in range(20))))

    texts = run(play)
    assert sim.count("taskInstances/getLog") == 1
    assert set(texts) == {texts[0]}
    assert texts[0].count("\n") <= module.LOG_LINES
    assert not any(letter in texts[0] for letter in "\x1b\u202e\x00")


def test_a_log_that_is_not_there_yet(run: Runner, looked_at: Source) -> None:
    async def play(lookups: Lookups) -> Any:
        seen = await lookups.instance(looked_at)
        assert isinstance(seen, Seen)
        return await lookups.log(looked_at, seen.graph.instance.nodes[2])

    assert run(play) == Problem("This node has no log, or not yet.", FRESH)


def test_what_is_kept_is_bounded(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_SOURCES", 3)

    async def play(lookups: Lookups) -> int:
        for number in range(6):
            await lookups.instance(Source("c", None, None, None, f"8101-2020010{number}000000"))
        return len(lookups._watched)

    assert run(play) == 3
