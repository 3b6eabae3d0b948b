"""Lists of many pages."""

from __future__ import annotations

from typing import Any

import pytest
from hook_fixtures import MINUTE, TRIGGER_TIME, MakeHook

from airflow_provider_enos import errors
from airflow_provider_enos.hooks.enos import EnosHook
from airflow_provider_enos.protocol.models import FlowStatus
from airflow_provider_enos.simulator import EnosSimulator


def populated(sim: EnosSimulator, number: int) -> list[str]:
    """Return the ids of finished instances, one a minute."""
    sim.progress = "at_once"
    made = [sim.trigger(3377, 108580, TRIGGER_TIME + minute * MINUTE) for minute in range(number)]
    return [instance.id for instance in made]


@pytest.mark.parametrize("count_means", ["total", "page"])
@pytest.mark.parametrize("first_page", [0, 1])
@pytest.mark.parametrize("number", [0, 1, 49, 50, 51, 100, 120])
def test_a_list_of_many_pages(hook_for: MakeHook, number: int, first_page: int, count_means: str) -> None:
    """None twice, none missed, in order."""
    with EnosSimulator(first_page=first_page, count_means=count_means) as sim:
        expected = populated(sim, number)
        found = hook_for(sim).list_flow_instances(TRIGGER_TIME, TRIGGER_TIME + 120 * MINUTE, type=0)
        assert [instance.flow_instance_id for instance in found] == expected
        assert sim.count("flowInstances/search") <= number // 50 + 3


@pytest.mark.parametrize("listed_type", [0, 1, 2])
@pytest.mark.parametrize("page_size", [1, 7, 1000])
def test_all_types_are_listed_unless_one_is_asked_for(hook_for: MakeHook, listed_type: int, page_size: int) -> None:
    with EnosSimulator(listed_type=listed_type) as sim:
        expected = populated(sim, 8)
        hook = hook_for(sim)
        window = (TRIGGER_TIME, TRIGGER_TIME + 120 * MINUTE)
        found = [one.flow_instance_id for one in hook.list_flow_instances(*window, page_size=page_size)]
        assert found == expected
        for kind in (0, 1, 2):
            assert len(list(hook.list_flow_instances(*window, type=kind))) == (8 if kind == listed_type else 0)


@pytest.mark.parametrize("first_page", [0, 1])
def test_pages_are_asked_for_as_they_are_needed(hook_for: MakeHook, first_page: int) -> None:
    with EnosSimulator(first_page=first_page) as sim:
        populated(sim, 120)
        found = hook_for(sim).list_flow_instances(TRIGGER_TIME, TRIGGER_TIME + 120 * MINUTE, type=0)
        assert sim.requests == []
        next(found)
        # Where pages start at 1, that of number 0 was refused.
        to_find_the_first = 1 + first_page
        assert sim.count("flowInstances/search") == to_find_the_first
        for _ in range(49):
            next(found)
        assert sim.count("flowInstances/search") == to_find_the_first
        next(found)
        assert sim.count("flowInstances/search") == to_find_the_first + 1


def test_a_list_ends_before_its_end(hook: EnosHook, sim: EnosSimulator) -> None:
    first, second, _ = populated(sim, 3)
    found = hook.list_flow_instances(TRIGGER_TIME, TRIGGER_TIME + 2 * MINUTE)
    assert [instance.flow_instance_id for instance in found] == [first, second]


def test_a_list_of_some(hook: EnosHook, sim: EnosSimulator) -> None:
    populated(sim, 2)
    sim.trigger(4001, 40011, TRIGGER_TIME)
    sim.finish("4001-20200706062600", "FAIL")
    window = (TRIGGER_TIME, TRIGGER_TIME + 120 * MINUTE)

    def ids(**wanted: Any) -> list[str]:
        return [instance.flow_instance_id for instance in hook.list_flow_instances(*window, **wanted)]

    assert ids(status=[FlowStatus.SUCCESS]) == ["3377-20200706062600", "3377-20200706062700"]
    assert ids(status=FlowStatus.SUCCESS) == ["3377-20200706062600", "3377-20200706062700"]
    assert ids(status=FlowStatus.FAIL) == ["4001-20200706062600"]
    assert len(ids(status=(status for status in (FlowStatus.FAIL, FlowStatus.SUCCESS)))) == 3
    assert ids(expression="fails") == ["4001-20200706062600"]
    assert ids(expression="062700") == ["3377-20200706062700"]
    assert ids(owner="nobody") == []
    assert len(ids(owner=sim.user_id)) == 3
    assert len(ids(status=list(FlowStatus))) == 3


def test_a_refusal_that_is_no_matter_of_pages_comes_through(sim: EnosSimulator, hook_for: MakeHook) -> None:
    found = hook_for(sim, user_id="u-of-others").list_flow_instances(TRIGGER_TIME, TRIGGER_TIME + MINUTE)
    with pytest.raises(errors.EnosAccessError, match="62101"):
        next(found)
    assert sim.count("flowInstances/search") == 1


@pytest.mark.parametrize("sorters", ["snake", "camel"])
@pytest.mark.parametrize("first_page", [0, 1])
@pytest.mark.parametrize("number", [0, 1, 49, 50, 51, 100, 120])
def test_a_search_of_many_pages(hook_for: MakeHook, number: int, first_page: int, sorters: str) -> None:
    """None twice, none missed, whatever EnOS calls what they are sorted by."""
    with EnosSimulator(search_first_page=first_page, search_sorters=sorters) as sim:
        for place in range(number):
            sim.add_flow(70_000 + place, name=f"of many {place}", tasks=[1000 + place])
        found = [flow.flow_id for flow in hook_for(sim).search_flows("of many")]
        assert found == list(range(70_000, 70_000 + number))
        assert sim.count("flows/search") <= number // 50 + 5


def test_flows_are_searched_as_they_are_needed(hook: EnosHook, sim: EnosSimulator) -> None:
    found = hook.search_flows("", 2)
    assert sim.requests == []
    next(found)
    # Page 0 was refused.
    assert sim.count("flows/search") == 2
