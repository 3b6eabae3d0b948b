"""A file of ``export`` against the flow as it is: the exit code tells a CI whether they are the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from command_line import PROGRAM, Run

from airflow_provider_enos.simulator import EnosSimulator

DIAMOND: dict[str, Any] = {
    "name": "daily",
    "tasks": {1: "a", 2: "b", 3: "c", 4: "d"},
    "relations": [(1, 2), (1, 3), (2, 4), (3, 4)],
    "parameters": {"day": "a-value"},
}


@pytest.fixture
def file(enos: Run, sim: EnosSimulator, tmp_path: Path) -> Path:
    """The file of the flow 4711."""
    sim.add_flow(4711, **DIAMOND)
    path = tmp_path / "daily.json"
    assert enos("export", 4711, "-o", path).code == 0
    return path


def cannot_compare(ran: Any) -> str:
    """The line that says why; the result is empty, and the exit code no other that means something."""
    assert (ran.code, ran.out) == (2, "")
    return str(ran.err.splitlines()[-1])


def test_a_flow_that_is_the_same(enos: Run, file: Path) -> None:
    ran = enos("diff", file)
    assert (ran.code, ran.out, ran.err) == (0, "", f"Flow 4711 is as {file} defines it.\n")
    assert enos("diff", file, "-o", "json").json == {
        "file": str(file),
        "flow_id": 4711,
        "flow_name": "daily",
        "by_name": False,
        "same": True,
        "changes_graph": False,
        "differences": [],
    }


def test_a_file_that_only_looks_different_is_the_same(enos: Run, file: Path) -> None:
    data = json.loads(file.read_text())
    file.write_text(json.dumps({**data, "nodes": data["nodes"][::-1], "relations": data["relations"][::-1]}))
    assert enos("diff", file).code == 0


def test_what_differs_is_said_node_by_node(enos: Run, sim: EnosSimulator, file: Path) -> None:
    changed = {"tasks": {1: "a", 2: "b", 3: "check", 5: "e"}, "relations": [(1, 2), (2, 3), (3, 5)]}
    sim.add_flow(4711, **{**DIAMOND, **changed, "parameters": {}})
    ran = enos("diff", file)
    assert ran.code == 1
    assert ran.out.splitlines() == [
        "node d (4) is not in the flow any more",
        "node check (3) is named 'c' in the definition",
        "node check (3) no longer runs after a (1) and now runs after b (2)",
        "node e (5) is new, and runs after check (3)",
        "parameter 'day' is not in the flow any more",
    ]
    assert ran.err == (
        f"Flow 4711 differs from {file}: 5 differences, 4 in nodes, their names or their relations.\n"
        "An EnosFlowTaskGroup of this file does not start: its task 'start' fails and says this.\n"
        f"To write the file again: {PROGRAM} export 4711 -o {file}\n"
    )
    assert enos("export", 4711, "-o", file).code == 0
    assert enos("diff", file).code == 0


def test_what_differs_as_json(enos: Run, sim: EnosSimulator, file: Path) -> None:
    sim.add_flow(4711, **{**DIAMOND, "type": 1})
    ran = enos("diff", file, "--output", "json")
    assert (ran.code, ran.err) == (1, "")
    assert (ran.json["same"], ran.json["changes_graph"]) == (False, False)
    (difference,) = ran.json["differences"]
    assert (difference["kind"], difference["task_id"], difference["changes_graph"]) == ("schedule", None, False)
    sim.add_flow(4711, **{**DIAMOND, "relations": DIAMOND["relations"][:3]})
    ran = enos("diff", file, "--output", "json")
    assert ran.json["changes_graph"]
    assert [(one["kind"], one["task_id"], one["task_name"]) for one in ran.json["differences"]] == [
        ("upstream", 4, "d")
    ]


def test_values_of_parameters_count_where_the_file_has_them_and_are_never_shown(
    enos: Run, sim: EnosSimulator, file: Path
) -> None:
    sim.add_flow(4711, **{**DIAMOND, "parameters": {"day": "another-value"}})
    assert enos("diff", file).code == 0
    sim.add_flow(4711, **DIAMOND)
    enos("export", 4711, "-o", file, "--parameter-values")
    assert enos("diff", file).code == 0
    sim.add_flow(4711, **{**DIAMOND, "parameters": {"day": "another-value"}})
    for output in ("table", "json"):
        ran = enos("diff", file, "-o", output)
        assert ran.code == 1
        assert "parameter 'day' has another value than in the definition" in ran.out
        assert "-value" not in ran.out.replace("--parameter-values", "")
    assert "export 4711 --parameter-values -o " in enos("diff", file).err


# ---- another environment --------------------------------------------------------------------------------------------

ELSEWHERE = {**DIAMOND, "tasks": {91: "c", 92: "d", 93: "a", 94: "b"}, "relations": [(93, 91), (93, 94), (94, 92)]}


@pytest.fixture
def elsewhere(sim: EnosSimulator, file: Path) -> None:
    """The same flow with other ids, but for one relation."""
    sim.add_flow(4711, name="something_else", tasks={1: "x"})
    sim.add_flow(5822, **ELSEWHERE)


@pytest.mark.parametrize("flow", [("--by-name",), (5822,), ("--flow-name", "daily"), (5822, "--by-name")])
@pytest.mark.usefixtures("elsewhere")
def test_nodes_are_compared_by_name_where_a_flow_is_named(enos: Run, sim: EnosSimulator, file: Path, flow: Any) -> None:
    ran = enos("diff", file, *flow)
    assert (ran.code, ran.out) == (1, "node d no longer runs after c\n")
    assert "To write the file again" not in ran.err
    sim.add_flow(5822, **{**ELSEWHERE, "relations": [*ELSEWHERE["relations"], (91, 92)]})
    assert enos("diff", file, *flow).code == 0
    said = enos("diff", file, *flow, "-o", "json").json
    assert (said["flow_id"], said["by_name"], said["same"]) == (5822, True, True)


@pytest.mark.usefixtures("elsewhere")
def test_by_name_needs_names_that_are_unique(enos: Run, sim: EnosSimulator, file: Path) -> None:
    sim.add_flow(5822, **{**DIAMOND, "tasks": {1: "a", 2: "b", 3: "b", 4: "d"}})
    said = cannot_compare(enos("diff", file, "--by-name"))
    assert "flow 5822: several nodes have the name 'b'; expected nodes with names of their own" in said


def test_by_name_needs_a_name(enos: Run, file: Path) -> None:
    file.write_text(file.read_text().replace('"daily"', '" "'))
    assert "the file names no flow, its name is ' '" in cannot_compare(enos("diff", file, "--by-name"))


# ---- what cannot be compared ----------------------------------------------------------------------------------------


def test_a_file_that_cannot_be_read(enos: Run, sim: EnosSimulator, file: Path, tmp_path: Path) -> None:
    requests = len(sim.requests)
    nowhere = tmp_path / "nowhere.json"
    assert f"cannot read {nowhere}: No such file or directory" in cannot_compare(enos("diff", nowhere))
    assert "Is a directory" in cannot_compare(enos("diff", tmp_path))
    file.write_text(file.read_text().replace('"task_id": 2', '"task_id": "two"'))
    said = cannot_compare(enos("diff", file))
    assert f"{file}: nodes[1].task_id: 'two'; expected a whole number from 1 on" in said
    file.write_text("<<<<<<< HEAD")
    assert f"{file}: it cannot be read as JSON" in cannot_compare(enos("diff", file))
    assert "To test the connection" not in said
    assert len(sim.requests) == requests


def test_a_flow_that_is_not_there(enos: Run, file: Path) -> None:
    for flow in ((999,), ("--flow-name", "dailies")):
        assert f"To find an id: {PROGRAM} flows" in cannot_compare(enos("diff", file, *flow))


def test_a_flow_that_has_no_definition(enos: Run, file: Path) -> None:
    assert "flow 4011: it depends on flow 3377" in cannot_compare(enos("diff", file, 4011))
    assert "flow 4006: nodes: there is none" in cannot_compare(enos("diff", file, 4006))


def test_a_gateway_that_is_out_of_reach(enos: Run, sim: EnosSimulator, file: Path) -> None:
    sim.stop()
    said = cannot_compare(enos("diff", file))
    assert f"To test the connection: {PROGRAM} check" in said


def test_no_connection(run: Run, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "not_there" in cannot_compare(run("diff", file, "--conn-id", "not_there"))


def test_options_that_do_not_go_together(enos: Run, file: Path) -> None:
    assert "give either FLOW_ID or --flow-name" in cannot_compare(enos("diff", file, 4711, "--flow-name", "daily"))


def test_with_verbose_the_exit_code_is_the_same(enos: Run, file: Path) -> None:
    ran = enos("diff", file, 999, "--verbose")
    assert "Traceback" in ran.err
    assert "Flow 999 does not exist" in cannot_compare(ran)
