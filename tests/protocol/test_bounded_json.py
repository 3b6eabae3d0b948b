"""JSON is read as Python's own reader reads it, and refused before it costs too much."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, strategies as st

from airflow_provider_enos.protocol import bounded_json
from airflow_provider_enos.protocol.bounded_json import (
    LIMITS,
    LIMITS_OF_A_PAGE,
    LIMITS_OF_A_TASK,
    Budget,
    Limits,
    TooMuchJson,
    loads,
    within,
)
from airflow_provider_enos.protocol.wire import calls, replies
from airflow_provider_enos.protocol.wire.messages import Call, Response

LETTERS = st.text(st.sampled_from('"\\[]{},:ab\n\u4e2d\U0001f600\ud800'), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.floats(allow_nan=False) | LETTERS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(LETTERS, inner, max_size=4),
    max_leaves=15,
)


def containers(value: Any) -> int:
    """How many lists and objects ``value`` is made of."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + sum(map(containers, inner))


def commas(value: Any) -> int:
    """How many commas separate its parts."""
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    return max(len(inner) - 1, 0) + sum(map(commas, inner))


@given(VALUES, st.booleans(), st.integers(1, 9))
def test_what_is_counted(value: Any, escaped: bool, step: int) -> None:
    """Only the part outside of strings is counted, wherever a step ends."""
    text = json.dumps(value, ensure_ascii=escaped)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bounded_json, "_SHORT", 0)
        patch.setattr(bounded_json, "_STEP", step)
        exact = Limits(containers=containers(value), values=commas(value), escapes=text.count("\\"))
        assert Budget(exact).loads(text) == value
        for name in ("containers", "values", "escapes"):
            if most := getattr(exact, name):
                with pytest.raises(TooMuchJson):
                    Budget(replace(exact, **{name: most - 1})).loads(text)


@given(VALUES)
def test_bytes_are_read_as_a_text(value: Any) -> None:
    text = json.dumps(value)
    assert loads(text) == loads(text.encode()) == loads(b"\xef\xbb\xbf" + text.encode()) == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" + "[]," * 100_000 + "[]]", "it has more than 100,000 lists and objects"),
        ('{"a":[' + "{}," * 100_000 + "{}]}", "it has more than 100,000 lists and objects"),
        ("[" + "1," * 200_000 + "1]", "it has more than 150,000 values"),
        ("[" + '"",' * 200_000 + '""]', "it has more than 150,000 values"),
        ('"' + "\\n" * 2_000_001 + '"', "it has more than 2,000,000 backslashes"),
        ("[" * 301 + "]" * 301, "its lists and objects are nested more than 300 deep"),
        ("[" * 100_000, "its lists and objects are nested more than 300 deep"),
        ("9" * 101, "it has a number of more than 100 characters"),
        ("1." + "9" * 100, "it has a number of more than 100 characters"),
    ],
    ids=lambda value: value[:20],
)
def test_what_is_refused(text: str, said: str) -> None:
    for given_text in (text, text.encode()):
        with pytest.raises(TooMuchJson, match=f"^{said}$"):
            loads(given_text)


@pytest.mark.parametrize("text", ["", "{", "[1,]", "nul", '"\\x"', "\\", '"a\\', '{"a" 1}'])
def test_what_is_no_json(text: str) -> None:
    with pytest.raises(json.JSONDecodeError):
        loads(text)


def test_a_log_may_have_any_number_of_brackets() -> None:
    log = "[2020-07-06 06:26:59] [INFO] {1, 2, 3}\n" * 30_000
    assert loads(json.dumps({"data": {"log": log}}).encode())["data"]["log"] == log


def test_texts_of_json_in_a_reply_share_its_budget() -> None:
    """Short texts have a share of their own, so that a large one cannot use it up."""
    large, small = json.dumps([[]] * 60_000), json.dumps([[]] * 249)
    with within(LIMITS):
        loads(large)
        with pytest.raises(TooMuchJson, match="100,000 lists"):
            loads(large)
        loads(json.dumps([[]] * 39_998))
        for _ in range(100):
            assert loads(small) == [[]] * 249
        with pytest.raises(TooMuchJson, match="100,000 lists"):
            loads(small)
    loads(large)


def test_limits_hold_for_a_reply_only() -> None:
    with within(replace(LIMITS, containers=1_000)), pytest.raises(TooMuchJson, match="1,000 lists"):
        loads(json.dumps([[]] * 1_000))
    loads(json.dumps([[]] * 1_000))


def graph(nodes: int) -> str:
    tasks = [
        {
            "taskId": str(108580 + n),
            "taskName": f"clean the readings of region {n}",
            "nodeId": f"5f0c2a{n:06}",
            "taskInstId": f"{108580 + n}-20200706062600",
            "status": "SUCCESS",
            "x": 10.5,
            "y": 20.5,
        }
        for n in range(nodes)
    ]
    relations = [{"source": f"5f0c2a{n:06}", "target": f"5f0c2a{n + 1:06}", "cycleGap": "D0"} for n in range(nodes)]
    return json.dumps({"tasks": tasks, "flows": [], "relations": relations})


def instance(nodes: int) -> dict[str, Any]:
    return {"instanceId": "3377-20200706062600", "status": 1, "graph": graph(nodes), "parameters": "[]"}


LOG = "[2020-07-06 06:26:59] [INFO] {读数}\n"


@pytest.mark.parametrize(
    ("limits", "call", "data"),
    [
        (LIMITS_OF_A_TASK, calls.get_task_instance_log("1-2", 2**22), {"log": "数" * 2**22}),
        (LIMITS_OF_A_TASK, calls.get_task_instance_log("1-2", 2**22), {"log": "\n" * 2**22}),
        (LIMITS, calls.get_task_instance_log("1-2"), {"log": "数" * 2**20}),
        (LIMITS, calls.get_task_instance_log("1-2"), {"log": LOG * (2**20 // len(LOG))}),
        (LIMITS_OF_A_PAGE, calls.get_task_instance_log("1-2"), {"log": "数" * 2**20}),
        (LIMITS_OF_A_PAGE, calls.get_task_instance_log("1-2"), {"log": LOG * (2**20 // len(LOG))}),
    ],
)
def test_the_longest_logs_are_read(limits: Limits, call: Call[str], data: dict[str, str]) -> None:
    body = json.dumps({"code": 0, "data": data}).encode()
    assert len(body) < limits.size
    assert replies.read(call, Response(200, {}, body), limits=limits) == data["log"]


def test_large_instances_are_read() -> None:
    listing = calls.list_flow_instances(type=0, from_trigger_time=0, to_trigger_time=1, page_no=1, page_size=50)
    body = json.dumps({"code": 0, "data": {"flowInsts": [instance(500)] * 50, "count": 50}}).encode()
    assert len(body) < LIMITS.size
    page = replies.read(listing, Response(200, {}, body), limits=LIMITS)
    assert [len(one.nodes) for one in page.instances] == [500] * 50
    for limits, nodes in ((LIMITS, 10_000), (LIMITS_OF_A_PAGE, 5_000)):
        body = json.dumps({"code": 0, "data": instance(nodes)}).encode()
        one = replies.read(calls.get_flow_instance("1-2"), Response(200, {}, body), limits=limits)
        assert (len(one.nodes), one.nodes_left_out) == (nodes, 0)
