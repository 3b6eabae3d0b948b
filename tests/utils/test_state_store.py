from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from worker import Log, StateStore

from airflow_provider_enos.utils.state_store import AssetState, TaskState


@pytest.mark.parametrize("context", [{}, {"task_state_store": None}], ids=["no such name", "None"])
def test_a_state_without_a_store_keeps_nothing(context: Any) -> None:
    """As before Airflow 3.3; and without a word, since nothing is wrong."""
    log = Log()
    state = TaskState(context, "enos", log)
    state.save({"a": 1})
    assert state.load() is None
    assert not state.kept, "what an earlier try saved cannot be told"
    assert log.lines == []


def test_a_state_outlives_the_try() -> None:
    store, log = StateStore(), Log()
    state = TaskState({"task_state_store": store}, "enos", log)
    assert state.kept
    assert state.load() is None
    state.save({"a": 1})
    assert TaskState({"task_state_store": store}, "enos", log).load() == {"a": 1}
    assert store.values == {"enos": {"a": 1}}
    assert log.lines == []


@pytest.mark.parametrize("first", ["load", "save"])
def test_a_failing_store_is_warned_of_once(broken_store: StateStore, first: str) -> None:
    log = Log()
    state = TaskState({"task_state_store": broken_store}, "enos", log)
    assert state.kept
    if first == "load":
        assert state.load() is None
    else:
        state.save({"a": 1})
    state.save({"a": 1})
    assert state.load() is None
    assert not state.kept, "what an earlier try saved cannot be told"
    assert log.lines == ["Airflow's task state store fails: no store today"]


def test_a_store_that_works_again_is_used_again(broken_store: StateStore) -> None:
    """What is written before a request fails, what is written after it does not: a retry finds that."""
    log = Log()
    state = TaskState({"task_state_store": broken_store}, "enos", log)
    state.save({"a": 1})
    broken_store.broken = False
    state.save({"a": 2})
    assert (state.load(), state.kept) == ({"a": 2}, True)
    assert len(log.lines) == 1


def test_a_state_tells_that_another_try_has_begun() -> None:
    store = StateStore()
    state = TaskState({"task_state_store": store}, "enos", Log())
    assert not state.superseded
    state.save({"a": 1})
    assert not state.superseded
    TaskState({"task_state_store": store}, "enos", Log()).save({"a": 2})
    assert state.superseded
    store.values.clear()
    assert state.superseded
    store.broken = True
    assert state.superseded


@pytest.mark.parametrize("kept", [True, False])
def test_what_was_perhaps_kept_is_no_sign_of_another_try(kept: bool) -> None:
    """The answer to the second was lost, before or after it was carried out."""
    store = StateStore()
    state = TaskState({"task_state_store": store}, "enos", Log())
    assert state.save({"a": 1})
    store.broken = True
    assert not state.save({"a": 2})
    store.broken = False
    if kept:
        store.set("enos", {"a": 2})
    assert not state.superseded


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_an_interruption_is_no_failure_of_the_store(interruption: type[BaseException]) -> None:
    class Interrupted:
        def get(self, key: str) -> Any:
            raise interruption

    state = TaskState({"task_state_store": Interrupted()}, "enos", Log())
    with pytest.raises(interruption):
        state.load()
    assert state.kept


class OneAsset:
    """The state store of one asset."""

    def __init__(self, value: Any = None) -> None:
        self.value = value
        self.broken = False

    async def aget(self, key: str) -> Any:
        if self.broken:
            raise RuntimeError("no store today")
        return self.value

    async def aset(self, key: str, value: Any) -> None:
        if self.broken:
            raise RuntimeError("no store today")
        self.value = value


def test_the_state_of_a_trigger_is_kept_with_each_of_its_assets() -> None:
    """Airflow has one trigger for several assets if its arguments are the same, and hands it all their stores."""
    assets = [OneAsset(), OneAsset(), OneAsset("kept")]
    stores = SimpleNamespace(_by_name={"a": assets[0], "b": assets[1]}, _by_uri={"x://c": assets[2]})

    async def main() -> None:
        state = AssetState(stores, "key", Log())
        assert await state.load() == ["kept"]
        assert await state.save("new")
        assert await state.load() == ["new"] * 3

    asyncio.run(main())


def test_the_stores_of_airflow_are_found_like_this() -> None:
    sdk = pytest.importorskip("airflow.sdk.execution_time.context", reason="Airflow 2")
    if not hasattr(sdk, "AssetStateStoreAccessors"):
        pytest.skip("Airflow before 3.3")
    asset = pytest.importorskip("airflow.sdk").Asset
    stores = sdk.AssetStateStoreAccessors(inlets=[asset(name="a", uri="x://a"), asset(name="b", uri="x://b")])
    found = AssetState(stores, "key", Log())._stores()
    assert found == [stores[asset(name="a", uri="x://a")], stores[asset(name="b", uri="x://b")]]


def test_a_state_store_of_assets_that_fails_is_told_once() -> None:
    store, log = OneAsset(), Log()

    async def main() -> None:
        state = AssetState(store, "key", log)
        store.broken = True
        assert await state.load() is None
        assert not await state.save("x")
        store.broken = False
        assert await state.save("x")
        assert await state.load() == ["x"]

    asyncio.run(main())
    assert log.lines == [
        "Airflow's asset state store fails, trying again: no store today",
        "Airflow's asset state store works again",
    ]


def test_without_a_state_store_of_assets_nothing_is_kept() -> None:
    async def main() -> None:
        state = AssetState(None, "key", Log())
        assert await state.save("x")
        assert await state.load() == []

    asyncio.run(main())
