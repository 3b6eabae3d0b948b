"""Flows and instances that outlive the process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_enos.simulator import EnosSimulator

COMMAND = [sys.executable, "-W", "error", "-m", "airflow_provider_enos.simulator", "--quiet", "--state"]
MINUTE = 1594016819108


def busy() -> EnosSimulator:
    """A simulator with an instance in each state, of flows with everything that a flow can have."""
    sim = EnosSimulator(progress="manual")
    sim.add_flow(1, name="größer", tasks={11: "a", 12: "b"}, relations=[(11, 12)], parameters={"x": "1"}, cycle="h")
    sim.add_flow(2, tasks=[21, 22], progress=("polls", 3), ends_as="FAIL", failing_task=22, logs={22: "no"}, owner="me")
    running = sim.trigger(1, trigger_time=MINUTE)
    sim.set_node_status(running.id, 11, "SUSPEND")
    sim.trigger(1, 12, MINUTE + 60_000)
    sim.finish(sim.trigger(2, 22, MINUTE).id, "CANCEL")
    sim.trigger(2, trigger_time=MINUTE + 60_000, type=1)
    sim.add_flow(2, tasks=[23])
    sim.trigger(2, 23, 4_000_000_000_000)
    inner = sim.add_directory("inner", sim.add_directory("outer"))
    sim.add_flow(
        3,
        tasks=[31, 32],
        relations=[(31, 32, True, "D-1")],
        active=False,
        directory=inner,
        links=[("a", 1), ("b", 2, 23)],
        link_edges=[("a", 31), ("b", 32, True)],
        details={31: {"cmd": "echo", "timeout": 5}},
        places={32: (1.5, 2)},
    )
    sim.add_flow(4, type=2, copy_of=3)
    sim.user_locked = True
    return sim


def test_what_is_loaded_is_what_was_saved(tmp_path: Path) -> None:
    old, new = busy(), EnosSimulator(progress="manual")
    old.save(tmp_path / "state.json")
    new.load(tmp_path / "state.json")
    assert new.instances == old.instances
    assert new.flows == old.flows
    assert new.directories == old.directories
    assert new.user_locked
    for sim in (old, new):
        sim.finish(sim.instances[0].id, "SUCCESS")
        sim.set_node_status(sim.instances[1].id, 12, "FAIL")
        with pytest.raises(ValueError, match="in that minute"):
            sim.trigger(1, trigger_time=MINUTE)
    assert [one.status for one in new.instances] == [one.status for one in old.instances]
    new.save(tmp_path / "again.json")
    old.save(tmp_path / "state.json")
    assert [one["status"] for one in json.loads((tmp_path / "again.json").read_text())["instances"]] == [
        one["status"] for one in json.loads((tmp_path / "state.json").read_text())["instances"]
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.json", "state.json"]


def test_polls_count_on(tmp_path: Path) -> None:
    """An instance that a restart has interrupted ends after as many polls as any other."""
    old, new = EnosSimulator(progress=("polls", 3)), EnosSimulator(progress=("polls", 3))
    made = old.trigger(3377)
    old._state.instances.poll(made.id)
    old._state.instances.poll(made.id)
    old.save(tmp_path / "state.json")
    new.load(tmp_path / "state.json")
    seen = [new._state.instances.poll(made.id) for _ in range(2)]
    assert [one.status for one in seen if one] == ["RUNNING", "SUCCESS"]


def test_tokens_do_not_outlive_it(sim: EnosSimulator, client: Any, tmp_path: Path) -> None:
    client.trigger()
    sim.save(tmp_path / "state.json")
    sim.load(tmp_path / "state.json")
    assert client.call("flowInstances/get", flowInstId="3377-20200706062600").status == 401
    client.token = ""
    assert client.get() is not None


def changed(**changes: Any) -> Any:
    def change(content: dict[str, Any]) -> None:
        content["instances"][0].update(changes)

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda content: content.clear(), "its format is not"),
        (lambda content: content.update(format="airflow_provider_enos.simulator state 1"), "its format is not"),
        (lambda content: content.pop("directories"), "'directories' is missing"),
        (lambda content: content["directories"].pop(), "there is no directory"),
        (lambda content: content["directories"].append({**content["directories"][0]}), "there is a directory"),
        (lambda content: content["directories"][0].update(title=7), "title is text"),
        (lambda content: content["flows"][0].update(active=1), "active of a flow cannot be 1"),
        (lambda content: content["flows"][0].update(links=[["a", 99]]), "there is no flow 99"),
        (lambda content: content.pop("flows"), "'flows' is missing"),
        (lambda content: content["flows"].clear(), "is missing"),
        (lambda content: content["flows"][0].update(colour="red"), "a flow has no colour"),
        (lambda content: content["instances"].append(content["instances"][0]), "an instance occurs twice"),
        (changed(status="DONE"), "a status that there is not"),
        (changed(nodes={}), "does not match its flow"),
        (changed(trigger_time="soon"), "trigger_time is a whole number"),
        (changed(nodes=7), "holds no state of this simulator"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, change: Any, says: str) -> None:
    path = tmp_path / "state.json"
    busy().save(path)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    sim = EnosSimulator()
    with pytest.raises(ValueError, match="holds no state of this simulator") as caught:
        sim.load(path)
    assert says in str(caught.value)
    assert sim.instances == []


def test_the_command_keeps_its_state(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    for expected in (0, 1):
        with subprocess.Popen([*COMMAND, str(path)], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            process.stdout.readline()
            process.send_signal(signal.SIGTERM)
            process.wait(10)
        assert process.returncode == 0
        assert len(json.loads(path.read_text())["instances"]) == expected
        sim = EnosSimulator()
        assert sim.secret_key not in path.read_text()
        sim.load(path)
        if not expected:
            sim.trigger(3377, trigger_time=MINUTE)
            sim.save(path)


@pytest.mark.parametrize("content", ["", "{}", "\x00", '{"format": 1}'])
def test_the_command_refuses_another_file(tmp_path: Path, content: str) -> None:
    path = tmp_path / "notes.json"
    path.write_text(content)
    done = subprocess.run([*COMMAND, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "holds no state of this simulator" in done.stderr
    assert path.read_text() == content
