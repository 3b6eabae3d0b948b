"""However many viewers there are, EnOS is asked now and then. Problems are explained in words for viewers."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import Connection
from happened import until
from viewed import Clock

from airflow_provider_enos.client import settings
from airflow_provider_enos.plugins.view import lookups as module
from airflow_provider_enos.plugins.view.lookups import (
    FRESH,
    FRESH_ENDED,
    FRESH_PROBLEM,
    MOST_RUNS,
    RUNS_PAUSE,
    Lookups,
    OwnLoop,
    Problem,
    Source,
)
from airflow_provider_enos.plugins.view.picture import Times
from airflow_provider_enos.protocol.models import FlowStatus
from airflow_provider_enos.simulator import EnosSimulator

GRAPH = {"tasks": {1: "ingest", 2: "clean", 3: "publish"}, "relations": [(1, 2), (2, 3)], "logs": {1: "read 7 rows"}}


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
    assert seen["kind"] == "instance"
    assert len(seen["edges"]) == 2
    assert [node["status"] for node in seen["nodes"]] == ["SUCCESS", "RUNNING", "INIT"]
    assert seen["link"] == f"https://console/{looked_at.flow_instance_id}"
    assert seen["refresh"]


def test_an_instance_of_another_flow_is_not_shown(run: Runner, sim: EnosSimulator, looked_at: Source) -> None:
    """A user who may write XComs can put its id on record."""
    sim.add_flow(81010, tasks={9: "a secret"}, progress="manual", logs={9: "of somebody else"})
    foreign = replace(looked_at, flow_instance_id=sim.trigger(81010).id, flow_id=8101)
    seen = run(lambda lookups: lookups.instance(foreign))
    assert isinstance(seen, Problem)
    assert seen.message.startswith("This task is about flow 8101, but the instance on record for it is of another flow")
    assert foreign.flow_instance_id in seen.message
    assert sim.count("taskInstances/get") == 0
    own = run(lambda lookups: lookups.instance(replace(looked_at, flow_id=8101)))
    assert own["id"] == looked_at.flow_instance_id


def test_where_only_the_name_of_the_flow_is_known_the_name_tells(
    run: Runner, sim: EnosSimulator, looked_at: Source
) -> None:
    """As of a task without a record, which names its flow."""
    (flow,) = (one for one in sim.flows if one.flow_id == 8101)
    own = run(lambda lookups: lookups.instance(replace(looked_at, flow_name=flow.name)))
    assert own["id"] == looked_at.flow_instance_id
    seen = run(lambda lookups: lookups.instance(replace(looked_at, flow_name="another")))
    assert isinstance(seen, Problem)
    assert seen.message.startswith("This task is about flow 'another', but the instance on record for it is of another")
    # What the record says counts more: the flow may have been renamed.
    own = run(lambda lookups: lookups.instance(replace(looked_at, flow_id=8101, flow_name="before")))
    assert own["id"] == looked_at.flow_instance_id


@pytest.mark.parametrize("switches", [{"id_style": "other"}, {"ids_as": "str", "data_as": "list"}], ids=str)
def test_which_flow_it_is_of_enos_says(
    run: Runner, sim: EnosSimulator, looked_at: Source, switches: dict[str, object]
) -> None:
    sim.switch(switches)
    own = replace(looked_at, flow_instance_id=sim.trigger(8101, trigger_time=1594016819108).id, flow_id=8101)
    assert run(lambda lookups: lookups.instance(own))["id"] == own.flow_instance_id
    assert isinstance(run(lambda lookups: lookups.instance(replace(own, flow_id=810))), Problem)


def test_times_are_asked_for_once_a_status_of_nodes_that_have_started(
    run: Runner, sim: EnosSimulator, looked_at: Source, clock: Clock
) -> None:
    async def play(lookups: Lookups) -> list[int]:
        asked = []
        for step in range(6):
            if step == 3:
                sim.set_node_status(looked_at.flow_instance_id, 2, "SUCCESS")
                sim.finish(looked_at.flow_instance_id, "SUCCESS")
            seen = await lookups.instance(looked_at)
            clock.now += FRESH_ENDED + 1
            asked.append(times_asked(sim))
        assert [node["end"] != "" for node in seen["nodes"]] == [True] * 3  # type: ignore[index]
        return asked

    assert run(play) == [2, 2, 2, 4, 4, 4]
    assert sim.count("flowInstances/get") == 6


@pytest.mark.parametrize(
    ("times", "status", "stopped", "is_it"),
    [
        (Times("2020-07-06 06:26:00", "2020-07-06 06:26:10"), "SUCCESS", True, True),
        (Times("2020-07-06 06:26:00", None), "SUCCESS", False, True),
        (Times("2020-07-06 06:26:00", None), "SUCCESS", True, False),
        (None, "SUCCESS", False, True),
        (None, "SUCCESS", True, False),
        (Times("2020-07-06 06:26:00", "2020-07-06 06:26:10"), "RERUN", False, False),
    ],
)
def test_a_time_that_is_missing_is_asked_for_once_more_when_all_has_stopped(
    times: Times | None, status: str, stopped: bool, is_it: bool
) -> None:
    """Asked while the node was SUCCESS and others ran on, so not at each look."""
    asked = module._Asked(FlowStatus.SUCCESS, False, times)
    assert asked.is_the_last_word(FlowStatus(status), stopped) is is_it


def times_asked(sim: EnosSimulator) -> int:
    return sum(record.operation == "taskInstances/get" for record in sim.requests)


@pytest.fixture
def many(sim: EnosSimulator) -> Source:
    """An instance of forty nodes that has ended."""
    sim.add_flow(8103, name="many", tasks={number: f"n{number}" for number in range(1, 41)}, progress="at_once")
    return Source("enos_default", None, None, None, sim.trigger(8103).id)


@pytest.fixture
def looks(run: Runner, sim: EnosSimulator, clock: Clock) -> Callable[..., list[tuple[int, int, bool]]]:
    """After each of so many looks: how often EnOS was asked for times, how many bars there are, whether it goes on."""

    def look(
        source: Source, number: int, pause: float = FRESH_ENDED + 1, before: Callable[[int], None] = lambda look: None
    ) -> list[tuple[int, int, bool]]:
        async def play(lookups: Lookups) -> list[tuple[int, int, bool]]:
            found = []
            for number_of_look in range(number):
                before(number_of_look)
                seen: Any = await lookups.instance(source)
                bars = sum("from" in node for node in seen["nodes"])
                found.append((times_asked(sim), bars, seen["refresh"] is not None))
                clock.now += pause
            return found

        return list(run(play))

    return look


Looks = Callable[..., list[tuple[int, int, bool]]]


def test_all_nodes_get_their_times_a_few_a_look(looks: Looks, many: Source) -> None:
    assert looks(many, 4) == [
        (MOST_RUNS, MOST_RUNS, True),
        (2 * MOST_RUNS, 2 * MOST_RUNS, True),
        (40, 40, False),
        (40, 40, False),
    ]


@pytest.mark.parametrize("fault", ["http_404", "internal_error"])
def test_nodes_of_which_enos_has_no_times_do_not_hold_up_the_others(
    looks: Looks, sim: EnosSimulator, many: Source, fault: str
) -> None:
    sim.fault(fault, on="taskInstances/get", times=2 * MOST_RUNS)
    *_, third, fourth = looks(many, 4)
    _, bars, goes_on = third
    assert bars >= 40 - 2 * MOST_RUNS
    assert not goes_on
    assert fourth == third


@pytest.mark.parametrize("fault", ["http_429", "dropped"])
def test_times_that_are_not_given_at_the_moment_are_asked_for_later(
    looks: Looks, sim: EnosSimulator, many: Source, fault: str
) -> None:
    sim.fault(fault, on="taskInstances/get", times=None)
    asked_before: list[int] = []

    def before(look: int) -> None:
        asked_before.append(times_asked(sim))
        if look == 2:
            sim.clear_faults()

    bars = [bars for _, bars, _ in looks(many, 5, RUNS_PAUSE / 2 - 1, before)]
    assert asked_before[1] == asked_before[3] > 0
    assert bars == [0, 0, 0, MOST_RUNS, 2 * MOST_RUNS]


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

    assert run(play)["kind"] == "instance"
    assert sim.count("flowInstances/get") == 1


def test_a_gateway_that_hangs_holds_up_nobody_for_long(
    run: Runner, sim: EnosSimulator, looked_at: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONGEST_LOOK", 1.0)
    sim.hold(on="flowInstances/get", at="received", times=None)
    sources = [looked_at] + [Source("enos_default", None, None, None, f"8101-2026010{n}000000") for n in range(1, 9)]

    async def play(lookups: Lookups) -> tuple[list[Any], float, int]:
        start = asyncio.get_running_loop().time()
        looks = asyncio.gather(*(lookups.instance(source) for source in sources))
        await asyncio.sleep(0.7)
        at_once = len([record for record in sim.requests if record.operation == "flowInstances/get"])
        return list(await looks), asyncio.get_running_loop().time() - start, at_once

    answers, took, at_once = run(play)
    sim.clear_holds()
    assert [answer.message for answer in answers] == ["EnOS takes too long to answer."] * len(sources)
    assert took < 5
    assert at_once <= module.AT_A_TIME


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

    for seen in run(play):
        assert seen["kind"] == "instance"
        assert not any("from" in node for node in seen["nodes"])
    assert times_asked(sim) == 2, "the second look must not ask again"


def test_logs_are_cleaned_bounded_and_asked_for_once(run: Runner, sim: EnosSimulator, looked_at: Source) -> None:
    sim.add_flow(
        8102, name="noisy", tasks={7: "n"}, logs={7: "\x1b[31mred\u202e\n" + "row\n" * 5000}, progress="at_once"
    )
    source = Source("enos_default", None, None, None, sim.trigger(8102).id)

    async def play(lookups: Lookups) -> list[Any]:
        seen: Any = await lookups.instance(source)
        (node,) = seen["nodes"]
        return list(await asyncio.gather(*(lookups.log(source, node["id"]) for _ in range(20))))

    texts = run(play)
    assert sim.count("taskInstances/getLog") == 1
    assert set(texts) == {texts[0]}
    assert texts[0].count("\n") <= module.LOG_LINES
    assert not any(letter in texts[0] for letter in "\x1b\u202e\x00")


def test_a_log_that_is_not_there_yet(run: Runner, looked_at: Source) -> None:
    async def play(lookups: Lookups) -> Any:
        seen: Any = await lookups.instance(looked_at)
        return await lookups.log(looked_at, seen["nodes"][2]["id"])

    assert run(play) == Problem("This node has no log, or not yet.", FRESH)


def test_what_is_kept_is_bounded(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_SOURCES", 3)
    monkeypatch.setattr(module, "MOST_LOGS", 2)

    async def play(lookups: Lookups) -> list[int]:
        for number in range(6):
            source = Source(f"c{number}", None, None, None, f"8101-2020010{number}000000")
            await lookups.instance(source)
            await lookups.log(source, f"1-2020010{number}000000")
            await lookups.log(source, f"2-2020010{number}000000")
        return [len(kept) for kept in (lookups._watched, lookups._slots, lookups._logs)]

    assert run(play) == [3, 3, 2]


def test_of_nodes_that_are_not_there_any_more_nothing_is_kept(
    run: Runner, sim: EnosSimulator, looked_at: Source, clock: Clock
) -> None:
    async def play(lookups: Lookups) -> list[int]:
        kept = []
        for _ in range(2):
            await lookups.instance(looked_at)
            kept.append(len(lookups._watched[looked_at].asked))
            clock.now += FRESH + 1
            sim.set_node_status(looked_at.flow_instance_id, 1, "INIT")
        return kept

    assert run(play) == [2, 1]


def test_a_gateway_that_hangs_holds_up_no_other_one(
    run: Runner, sim: EnosSimulator, looked_at: Source, settings_of: Callable[[Source], settings.Settings], clock: Clock
) -> None:
    with EnosSimulator() as other:
        other.hold(at="received", times=None)

        def of_either(source: Source) -> settings.Settings:
            found = settings_of(source)
            return found if source.conn_id == "enos_default" else replace(found, base_url=other.url)

        async def play() -> Any:
            lookups = Lookups(of_either, clock)
            hang = [
                asyncio.create_task(lookups.instance(Source("hangs", None, None, None, f"8101-2026010{number}000000")))
                for number in range(module.AT_A_TIME + 2)
            ]
            await until(lambda: len(other.held) == 1)
            seen = await asyncio.wait_for(lookups.instance(looked_at), module.LONGEST_LOOK / 5)
            for one in hang:
                one.cancel()
            return seen

        assert asyncio.run(play())["kind"] == "instance"
        other.clear_holds()


@pytest.mark.parametrize("what", ["instance", "log"])
def test_what_enos_sends_takes_no_time_of_the_api_servers_loop(
    sim: EnosSimulator,
    looked_at: Source,
    settings_of: Callable[[Source], settings.Settings],
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    """Reading, cleaning and drawing here wait until this loop has gone on."""
    goes_on = threading.Event()

    def slowly(made_of: Callable[..., Any]) -> Callable[..., Any]:
        def make(*given: Any) -> Any:
            goes_on.clear()
            assert goes_on.wait(5)
            return made_of(*given)

        return make

    if what == "instance":
        monkeypatch.setattr(module.picture, "of_instance", slowly(module.picture.of_instance))
        monkeypatch.setattr(module.FlowInstanceGraph, "parse", slowly(module.FlowInstanceGraph.parse))
    else:
        monkeypatch.setattr(module, "tail", slowly(module.tail))

    async def play() -> Any:
        lookups = Lookups(settings_of)
        asked = lookups.instance(looked_at) if what == "instance" else lookups.log(looked_at, log_of_first)
        waiting = asyncio.create_task(OwnLoop().run(asked))
        while not waiting.done():
            await asyncio.sleep(0.01)
            goes_on.set()
        return await waiting

    log_of_first = looked_at.flow_instance_id.replace("8101", "1", 1)
    answer = asyncio.run(play())
    assert answer["kind"] == "instance" if what == "instance" else "read 7 rows" in answer
