"""What cannot work is refused where the DAG is parsed, by an error that names task, field and value."""

from __future__ import annotations

import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, TaskGroup, task
from airflows import AIRFLOW, dag_bag
from run_dag import result_of

from airflow_provider_enos import errors
from airflow_provider_enos.operators.enos import (
    EnosCancelFlowInstanceOperator,
    EnosDisableFlowOperator,
    EnosEnableFlowOperator,
    EnosTriggerFlowFromTaskOperator,
    EnosTriggerFlowOperator,
)
from airflow_provider_enos.sensors.enos import EnosFlowInstanceSensor, EnosFlowSensor
from airflow_provider_enos.simulator import EnosSimulator
from airflow_provider_enos.utils.task_arguments import EnosArgumentError
from airflow_provider_enos.version_compat import literal

HERE = Path(__file__).resolve().parent
RUNNER = HERE.parent / "support" / "run_dag.py"

LEAST: dict[type[Any], dict[str, Any]] = {
    EnosTriggerFlowFromTaskOperator: {"flow_id": 3377, "from_task_id": 108580},
    EnosTriggerFlowOperator: {"flow_id": "3377"},
    EnosCancelFlowInstanceOperator: {"flow_instance_id": "3377-20200706062600"},
    EnosEnableFlowOperator: {"flow_id": 3377},
    EnosDisableFlowOperator: {"flow_id": 3377},
    EnosFlowInstanceSensor: {"flow_instance_id": "3377-20200706062600"},
    EnosFlowSensor: {"flow_id": 3377},
}
"""The arguments that each class needs."""

NO_IDS = ["meter_readings_daily", None, True, 3377.0, [3377], 0, -1, "", "None", {"id": 3377}, int, Path("3377")]
NO_NAMES = [
    "",
    " ",
    3377,
    True,
    ["load"],
    {"name": "load"},
    b"load",
    "a\nb",
    "a\x00b",
    "a\u202eb",
    "a\ud800",
    "a" * 1001,
]
NO_TIMES = [
    *(datetime(2024, 3, 3), "2024-03-03", "2024-03-03T00:00:00", date(2024, 3, 3), 1594016819, "1594016819", 0, -1),
    *(1594016819108.0, True, None, "", "tomorrow", "202403030000", 20240303000000, "20240303", [1594016819108]),
]
NO_FLAGS = ["false", "yes", 0, 1, None, [], "{{ params.flag }}"]
NO_TEXTS = [3377, True, ["o"], b"o", "a\nb"]
NO_NUMBERS = ["30", True, -1, None, float("nan"), [30]]
REFUSED: dict[str, list[Any]] = {
    "flow_id": NO_IDS,
    "from_task_id": NO_IDS,
    "flow_name": NO_NAMES,
    "from_task_name": NO_NAMES,
    "flow_instance_id": [3377, None, "", "None", "a b", ["3377-1"], True],
    "trigger_time": NO_TIMES,
    "window_start": [*NO_TIMES, "now"],
    "window_end": [*NO_TIMES, "now"],
    "window_shift": [3, timedelta(seconds=90), -1, 0.5, "1 day", True, None],
    "parameters": [["a=b"], "a=b", "", 0, [("a", "b")], {"a": None}, {"a": 0.5}, {"a": True}, {"a": ["b"]}, {"": "b"},
                   {1: "b"}, {"a": {"b": "{{ ds }}"}}],
    "enos_conn_id": ["", " ", None, 123, True, ["enos_default"]],
    "org_id": NO_TEXTS,
    "user_id": NO_TEXTS,
    "deferrable": [flag for flag in NO_FLAGS if flag is not None],
    **dict.fromkeys(("wait_for_completion", "cancel_on_kill", "cancel_on_timeout", "start_from_trigger",
                     "check_existence", "scheduled_only"), NO_FLAGS),
    "poll_interval": [*NO_NUMBERS, 0],
    "timeout": [*NO_NUMBERS, 0],
    "poll_error_tolerance": NO_NUMBERS,
    "on_conflict": ["retry", None, True],
    "retry_from": ["node", None, True],
    "outlet_partition": ["day", "", True, 1, ["business_date"]],
    "on_ended": ["retry", None, True],
    "task_logs": ["some", None, True],
    "allowed_statuses": ["DONE", (), None, 1, {"DONE"}],
    "failed_statuses": ["SUCCESS", "DONE", None, [1]],
    "skipped_statuses": [["FAIL"], "DONE", None],
    "instances": ["some", None],
    "expected_instances": [0, "many", True, 1.0],
    "types": [3, 1.0, True, "1", (), None, [1, 3]],
}  # fmt: skip
"""For each argument, what cannot work."""


def arguments_of(cls: type[Any]) -> list[str]:
    """Return those that are checked, which are all but Airflow's own."""
    return list(cls._enos_arguments)


def with_one(least: dict[str, Any], **given: Any) -> dict[str, Any]:
    """The arguments, with these in place of their others: a name in place of an id."""
    others = {name.replace("_name", "_id") for name in given}
    return {**{name: value for name, value in least.items() if name not in others}, **given}


CASES = [(cls, name) for cls in LEAST for name in arguments_of(cls)]


@pytest.fixture
def dag() -> DAG:
    return DAG("dag", schedule=None)


def refusal(make: Callable[[], object]) -> str:
    with pytest.raises(EnosArgumentError) as caught:
        make()
    assert isinstance(caught.value, (errors.EnosConfigError, ValueError))
    return str(caught.value)


def test_every_argument_of_every_class_is_tried() -> None:
    assert {name for _, name in CASES} == set(REFUSED)


@pytest.mark.parametrize(("cls", "name"), CASES, ids=lambda one: getattr(one, "__name__", one))
def test_what_cannot_work_is_refused(cls: type[Any], name: str) -> None:
    """With the task, the field, the value, and what would do."""
    for value in REFUSED[name]:
        with DAG("dag", schedule=None), TaskGroup("group"):
            said = refusal(lambda value=value: cls(task_id="one", **{**LEAST[cls], name: value}))  # type: ignore[misc]
        assert re.match(rf"task group\.one: {name}\b.*; expected ", said), said
        shown = value if name != "parameters" or not isinstance(value, dict) else next(iter(value.values()))
        assert repr(shown).strip("()[]{}")[:40] in said or name.endswith("_statuses")


@pytest.mark.parametrize(("cls", "name"), CASES, ids=lambda one: getattr(one, "__name__", one))
def test_the_same_of_a_mapped_task(cls: type[Any], name: str) -> None:
    """What all its instances have, what some have, and what comes from default_args."""
    least = {argument: value for argument, value in LEAST[cls].items() if argument != name}
    for value in REFUSED[name]:
        makes: list[Callable[[], object]] = [
            lambda value=value: cls.partial(task_id="one", **least, **{name: value}).expand(do_xcom_push=[True]),  # type: ignore[misc]
            lambda value=value: cls.partial(task_id="one", **least).expand_kwargs([{name: value}]),  # type: ignore[misc]
            lambda value=value: cls.partial(task_id="one", **least).expand(**{name: [value]}),  # type: ignore[misc]
        ]
        if name == "allowed_statuses" and value == ():
            # Only together with the others.
            makes = makes[:1]
        if name in ("failed_statuses", "skipped_statuses") and value in ("SUCCESS", ["FAIL"]):
            makes = makes[:1]
        for make in makes:
            with DAG("dag", schedule=None), TaskGroup("group"):
                assert re.match(rf"task group\.one: {name}\b", refusal(make))
        with DAG("dag", schedule=None, default_args={name: value}):
            assert f"{name}" in refusal(lambda: cls.partial(task_id="one", **least).expand(do_xcom_push=[True]))


def test_default_args_that_a_mapped_task_has_its_own_of_are_not_looked_at() -> None:
    cls = EnosTriggerFlowFromTaskOperator
    with DAG("dag", schedule=None, default_args={"flow_id": "bad", "from_task_id": 1}):
        cls.partial(task_id="one").expand(flow_id=[1, 2])
        cls.partial(task_id="two").expand_kwargs([{"flow_id": 1}, {"flow_id": 2}])
        with TaskGroup("group", default_args={"flow_id": 1}):
            cls.partial(task_id="three").expand(from_task_id=[1, 2])


@pytest.mark.parametrize("native", [False, True])
def test_what_is_known_only_later_passes(native: bool) -> None:
    """Templates, outputs of tasks, what is made of these, and functions."""

    @task
    def given() -> Any:
        return None

    with DAG("dag", schedule=None, render_template_as_native_obj=native) as dag:
        output = given()
        later = [
            *("{{ params.x }}", "{% if ds %}1{% endif %}", "3377{# meter readings #}", "{{ ds }}T00:00:00+00:00"),
            *(output, output["key"], output.map(str), output.zip(output), dag.param("x", 1), lambda **_: 3377),
        ]
        for cls, least in LEAST.items():
            for name in cls.template_fields:
                for number, value in enumerate(later):
                    made = cls(task_id=f"{cls.__name__}-{name}-{number}", **with_one(least, **{name: value}))
                    assert getattr(made, name) is value
                    task_id = f"{cls.__name__}-{name}-{number}-mapped"
                    made = cls.partial(task_id=task_id, **with_one(least, **{name: value}))
                    made.expand(do_xcom_push=[True])
                rest = {argument: value for argument, value in with_one(least, **{name: 0}).items() if argument != name}
                mapped = cls.partial(task_id=f"{cls.__name__}-{name}-expanded", **rest)
                mapped.expand(**{name: later[:5]})
                cls.partial(task_id=f"{cls.__name__}-{name}-output", **rest).expand(**{name: output})
        for number, value in enumerate(later):
            parameters = {"a": value, "b": "text", "c": 7}
            made = EnosTriggerFlowOperator(task_id=f"parameters-{number}", flow_id=1, parameters=parameters)
            assert made.parameters == parameters


def test_what_works_is_kept_as_it_was_written() -> None:
    moment = datetime(2024, 3, 3, tzinfo=UTC)
    made = EnosTriggerFlowOperator(
        task_id="one", flow_id=" 3377", trigger_time=moment, parameters=MappingProxyType({"a": "{{ ds }}"}), org_id=None
    )
    assert (made.flow_id, made.trigger_time, made.org_id) == (" 3377", moment, None)
    assert made.parameters == {"a": "{{ ds }}"}
    assert type(made.parameters) is dict, "Airflow renders nothing in another mapping"
    for value in ("now", 1594016819108, "1594016819108", "2024-03-03T00:00:00+08:00"):
        EnosTriggerFlowOperator(task_id="one", flow_id=1, trigger_time=value)
    for shift in (0, 60, -10800, timedelta(hours=-3), timedelta(minutes=1), 180.0):
        EnosFlowSensor(task_id="one", flow_id=1, window_shift=shift)


def test_a_literal_is_taken_as_it_is() -> None:
    assert EnosTriggerFlowOperator(task_id="one", flow_id=literal("3377"), parameters={"a": literal("{{ x }}")})
    for arguments in ({"flow_id": literal("{{ x }}")}, {"flow_id": 1, "parameters": {"a": literal(None)}}):
        refusal(lambda arguments=arguments: EnosTriggerFlowOperator(task_id="one", **arguments))  # type: ignore[misc]


def test_delimiters_of_a_dag_are_known() -> None:
    with DAG("dag", schedule=None, jinja_environment_kwargs={"variable_start_string": "[["}):
        EnosTriggerFlowOperator(task_id="one", flow_id="[[ params.x ]]")
        EnosTriggerFlowOperator.partial(task_id="two", flow_id="[[ params.x ]]").expand(parameters=["[[ x ]]"])
        assert "[% x %]" in refusal(lambda: EnosTriggerFlowOperator(task_id="three", flow_id="[% x %]"))


EMPTY: list[dict[str, Any]] = [
    {"window_start": "2024-03-03T00:00Z", "window_end": datetime(2024, 3, 2, tzinfo=UTC)},
    {"window_start": 200_000_000_000, "window_end": 200_000_060_000, "window_shift": timedelta(36_500)},
    {"failed_statuses": "FAIL", "skipped_statuses": "FAIL"},
    {"failed_statuses": "SUCCESS"},
]


@pytest.mark.parametrize("arguments", EMPTY, ids=str)
def test_arguments_that_do_not_go_together_are_refused(arguments: dict[str, Any]) -> None:
    with DAG("dag", schedule=None):
        refusal(lambda: EnosFlowSensor(task_id="one", flow_id=1, **arguments))
        refusal(lambda: EnosFlowSensor.partial(task_id="two", **arguments).expand(flow_id=[1]))
        refusal(lambda: EnosFlowSensor.partial(task_id="three", **arguments).expand_kwargs([{"flow_id": 1}]))
        # One of them may be another one in each instance, or known only later.
        name, value = arguments.popitem()
        EnosFlowSensor.partial(task_id="four", flow_id=1, **arguments).expand(**{name: [value]})
        EnosFlowSensor(task_id="five", flow_id=1, window_start="{{ ds }}", window_end=200_000_000_000)


class WithFields(EnosTriggerFlowOperator):
    """As users write them: with template fields of its own, and a flow that it is told by name."""

    template_fields = (*EnosTriggerFlowOperator.template_fields, "report", "deferrable")
    FLOWS = {"meter readings": 3377}

    def __init__(self, *, flow_id: str, report: str, **kwargs: Any) -> None:
        super().__init__(flow_id=self.FLOWS[flow_id], **kwargs)
        self.report = report


def test_subclasses_may_have_fields_of_their_own_and_give_ours_another_meaning(dag: DAG) -> None:
    with dag:
        one = WithFields(task_id="one", flow_id="meter readings", report="{{ ds }}")
        assert (one.flow_id, one.report) == (3377, "{{ ds }}")
        mapped = WithFields.partial(task_id="two", flow_id="meter readings").expand(report=["a", "b"])
        assert mapped.unmap({"report": "a"}).flow_id == 3377
        assert "deferrable: 'x'" in refusal(
            lambda: WithFields.partial(task_id="three", flow_id="?", deferrable="x").expand(report=["a"])
        )


def test_a_mapped_task_is_made_as_airflow_makes_it(dag: DAG) -> None:
    with dag:
        partial = EnosTriggerFlowOperator.partial(task_id="one", flow_id=3377, poll_interval=timedelta(minutes=1))
        assert "EnosTriggerFlowOperator.partial" in repr(partial._inner)
        assert partial.kwargs["flow_id"] == 3377
        mapped = partial.expand(parameters=[{"a": "b"}, {"a": "c"}])
    assert dag.task_dict["one"] is mapped
    made = mapped.unmap({"parameters": {"a": "b"}})
    assert (made.flow_id, made.parameters, made.poll_interval) == (3377, {"a": "b"}, 60.0)
    with pytest.raises(TypeError, match="partial can only be called on Operator classes"):
        made.partial(task_id="two")
    with pytest.raises(TypeError, match="unexpected keyword argument 'flow'"), dag:
        EnosTriggerFlowOperator.partial(task_id="three", flow=3377)
    with pytest.raises(TypeError), dag:
        EnosTriggerFlowOperator.partial(flow_id=3377)


def test_the_error_survives_a_process_and_is_not_retried() -> None:
    with pytest.raises(EnosArgumentError) as caught:
        EnosTriggerFlowOperator(task_id="one", flow_id="x")
    assert isinstance(caught.value, AirflowFailException)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (type(copy), str(copy), copy.field) == (EnosArgumentError, str(caught.value), "flow_id")


def test_the_error_of_a_dag_file_names_the_task(tmp_path: Path) -> None:
    """As users see it: by Airflow's own parsing of files."""
    lines = [
        "from airflow.providers.common.compat.sdk import DAG",
        "from airflow_provider_enos.sensors.enos import EnosFlowSensor",
        "with DAG('dag', schedule=None, default_args={'flow_id': 'meter_readings_daily'}):",
    ]
    for number, made in enumerate(
        ("EnosFlowSensor(task_id='wait')", "EnosFlowSensor.partial(task_id='wait').expand(pool=['a'])")
    ):
        (tmp_path / f"dag_{number}.py").write_text("\n".join([*lines, f"    {made}"]))
    found = dag_bag(tmp_path).import_errors
    assert len(found) == 2
    assert all("task wait: flow_id: 'meter_readings_daily'; expected a whole number" in said for said in found.values())


@pytest.fixture
def run(
    migrated_home: Path, tmp_path: Path, sim: EnosSimulator, make_environment: Callable[[], dict[str, str]]
) -> Callable[[str], dict[str, Any]]:
    """Runs a DAG through Airflow; gives the states and tries of its tasks, and what was printed."""
    shutil.copy(migrated_home / "airflow.db", tmp_path)
    sim.progress = "at_once"

    def run(name: str) -> dict[str, Any]:
        process = subprocess.run(
            [sys.executable, str(RUNNER), str(HERE / "late_dags" / "late.py"), name],
            env={
                **make_environment(),
                "AIRFLOW_HOME": str(tmp_path),
                "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/airflow.db",
                "AIRFLOW__CORE__DAGS_FOLDER": str(HERE / "late_dags"),
                "AIRFLOW_CONN_ENOS_DEFAULT": sim.connection_json,
            },
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        printed = process.stdout + process.stderr
        assert process.returncode == 0, printed
        return {**result_of(process.stdout), "printed": printed}

    return run


def test_what_comes_to_nothing_only_when_the_task_runs_fails_it_for_good(
    run: Callable[[str], dict[str, Any]], sim: EnosSimulator
) -> None:
    """Though it has two retries: a value that expand() gets from a task, and one that a template renders to."""
    result = run("refused")
    ours = {name: state for name, state in result["tasks"].items() if name.startswith(("mapped", "template"))}
    assert len(ours) == 8
    assert set(ours.values()) == {"failed"}
    assert {result["tries"][name] for name in ours} == {1}
    assert sim.requests == []
    if AIRFLOW == (3, 0):
        return  # It prints no tracebacks of dag.test().
    for said in (
        "task mapped_id: flow_id: 'meter_readings_daily'; expected a whole number",
        "task mapped_parameters: parameters['a']: 0.5; expected a text or a whole number",
        "task mapped_flag: check_existence: 'false'; expected True or False",
        "task mapped_instance: flow_instance_id: 3377; expected an instance id",
    ):
        assert said in result["printed"]


def test_what_native_rendering_makes_of_texts_is_taken(
    run: Callable[[str], dict[str, Any]], sim: EnosSimulator
) -> None:
    result = run("native")
    assert set(result["tasks"].values()) == {"success"}, result["printed"]
    by_flow = {instance.flow_id: instance for instance in sim.instances}
    texts = by_flow[3377].parameters
    assert {name: texts[name] for name in ("day", "site", "factor", "plain")} == {
        "day": "20240302", "site": "007", "factor": "1.5", "plain": "20240302",
    }  # fmt: skip
    assert by_flow[3377].id == "3377-20200706062600"
    assert by_flow[4001].parameters["day"] == "20240302"
    assert by_flow[4001].id == "4001-20200706062600"
    assert by_flow[4002].from_task_id == 40021
