"""The house: who may import whom, what is exported, and that each module has its tests."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from airflow.plugins_manager import AirflowPlugin

import airflow_provider_enos

PACKAGE = Path(airflow_provider_enos.__file__).parent
TESTS = Path(__file__).resolve().parent
ROOT_MODULES = {"__init__", "errors", "provider_info", "version_compat"}
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))

MAY_IMPORT = {
    "protocol": {"protocol"},
    "client": {"protocol", "client"},
    "hooks": {"protocol", "client", "hooks", "utils"},
    "utils": {"protocol", "client", "hooks", "utils"},
    # Where links are served, it is the plugin that knows what is on record of a task.
    "links": {"links", "plugins"},
    "triggers": {"protocol", "client", "hooks", "utils", "links", "triggers"},
    "operators": {"protocol", "client", "hooks", "utils", "links", "triggers", "operators"},
    "sensors": {"protocol", "client", "hooks", "utils", "links", "triggers", "sensors"},
    "task_groups": {"protocol", "client", "hooks", "utils", "links", "triggers", "operators", "task_groups"},
    "cli": {"protocol", "client", "hooks", "cli"},
    "plugins": {"protocol", "client", "plugins"},
    # It checks the client, so it shares nothing with it.
    "simulator": {"simulator"},
    "testing": {"client", "simulator", "testing"},
}
OUTSIDE = {
    "protocol": set[str](),
    "client": {"requests", "urllib3", "certifi", "aiohttp", "yarl"},
    "hooks": {"airflow", "flask_appbuilder", "wtforms"},
    # attrs and openlineage: where Airflow's OpenLineage provider, which has them, asks for facets.
    "utils": {"airflow", "asgiref", "attrs", "openlineage"},
    "links": {"airflow"},
    "operators": {"airflow"},
    "sensors": {"airflow"},
    "task_groups": {"airflow"},
    "cli": {"airflow", "rich"},
    # What serves Airflow's own API.
    "plugins": {"airflow", "fastapi", "sqlalchemy", "starlette"},
    "triggers": {"airflow"},
    "simulator": set[str](),
    # No dependency: whoever imports it has it.
    "testing": {"pytest"},
}


AIRFLOW_IN_CLIENT = "client/polling/metrics.py"
"""The one module of the client that asks for Airflow, when there is something to count."""


def imports(module: Path, *, at_import: bool = False) -> Iterator[str]:
    """What a module imports; ``at_import``: only what it imports when it is itself imported."""
    tree = ast.parse((PACKAGE / module).read_text())
    nodes = tree.body if at_import else list(ast.walk(tree))
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("module", [module for module in MODULES if len(module.parts) > 1], ids=str)
def test_dependencies_point_one_way(module: Path) -> None:
    layer = module.parts[0]
    for name in imports(module):
        top, *rest = name.split(".")
        if top == "airflow_provider_enos":
            known = rest[0] in MAY_IMPORT[layer] | {"__version__"} or (rest[0] in ROOT_MODULES and layer != "simulator")
            assert known, f"{module} imports {name}"
        elif top not in sys.stdlib_module_names:
            also = {"airflow"} if module.as_posix() == AIRFLOW_IN_CLIENT else set()
            assert top in OUTSIDE[layer] | also, f"{module} imports {name}"


def test_no_two_modules_import_each_other() -> None:
    names = {".".join(("airflow_provider_enos", *module.with_suffix("").parts)): module for module in MODULES}
    left = {
        name: {one for found in imports(module) for one in (found, found.rpartition(".")[0])} & names.keys() - {name}
        for name, module in names.items()
    }
    while free := {name for name, wanted in left.items() if not wanted & left.keys()}:
        left = {name: wanted for name, wanted in left.items() if name not in free}
    assert sorted(left) == []


@pytest.mark.parametrize("module", ["__init__.py", "provider_info.py"])
def test_what_airflow_loads_everywhere_imports_nothing(module: str) -> None:
    assert {name.split(".")[0] for name in imports(Path(module))} <= {"__future__", "typing"}


FOR_A_RUN = (
    *("client", "triggers", "protocol.flow_differences", "protocol.start", "protocol.wire"),
    *(f"protocol.models.{module}" for module in ("answers", "directories", "exports", "fields", "flows", "instances")),
    *(
        f"operators.{module}"
        for module in (
            *("cancel_execution", "execution", "group_start_execution"),
            *("kill", "node_execution", "trigger_execution"),
        )
    ),
    *(f"sensors.{module}" for module in ("execution", "flow_execution", "flow_instance_execution")),
    *(
        f"utils.{module}"
        for module in (
            *("airflow_errors", "connections", "group_record", "kept_error", "openlineage_facets", "state_store"),
            *("task_end", "trigger_events", "trigger_record", "triggerer"),
        )
    ),
)
"""What only a task that runs needs, packages as a whole. Of ``protocol.follow`` parsing needs the options."""


def is_for_a_run(module: str) -> bool:
    if module.startswith("protocol.follow."):
        return module != "protocol.follow.options"
    return any(module == one or module.startswith(f"{one}.") for one in FOR_A_RUN)


IMPORTED_BY_DAGS = ["operators.enos", "sensors.enos", "task_groups.enos", "hooks.enos", "simulator"]
IMPORTED = """
import os, sys
from importlib import import_module, util

import_module("airflow.sdk" if util.find_spec("airflow.sdk") else "airflow.models")
for needed, module, functions in {asked}:
    if not os.fork():
        import_module(needed)
        before = set(sys.modules)
        made = import_module("airflow_provider_enos." + module)
        for function in functions:
            getattr(made, function)()
        print(">", module, *sorted(set(sys.modules) - before), flush=True)
        os._exit(0)
    os.wait()
"""
"""Prints what each module imports that Airflow, and what is needed besides, has not imported. Airflow takes seconds."""


@pytest.fixture(scope="module")
def imported() -> dict[str, set[str]]:
    """What a process imports with a module, of this package without its name in front."""
    asked = [
        *(("airflow", module, ()) for module in IMPORTED_BY_DAGS),
        ("airflow.cli.cli_config", "cli.definition", ("get_enos_cli_commands", "parser")),
    ]
    command = [sys.executable, "-c", IMPORTED.format(asked=asked)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lines = [line.split()[1:] for line in printed.splitlines() if line.startswith("> ")]
    return {module: {name.removeprefix("airflow_provider_enos.") for name in names} for module, *names in lines}


@pytest.mark.parametrize("module", IMPORTED_BY_DAGS)
def test_parsing_a_dag_imports_nothing_that_only_a_run_needs(module: str, imported: dict[str, set[str]]) -> None:
    """DAG files are parsed all day: requests, aiohttp and what reads replies are imported when they are used."""
    loaded = imported[module]
    assert module in loaded
    assert not {name.split(".")[0] for name in loaded} & {"requests", "aiohttp", "urllib3"}
    assert not [name for name in sorted(loaded) if is_for_a_run(name)]


def test_a_hook_imports_its_calls_when_it_is_first_asked_for_something(imported: dict[str, set[str]]) -> None:
    loaded = imported["hooks.enos"]
    of_protocol = {name for name in loaded if name.split(".")[0] == "protocol"}
    assert of_protocol <= {"protocol", "protocol.arguments", "protocol.text"}
    assert {name for name in loaded if name.startswith("utils.")} == {"utils.lazy"}


def test_the_help_of_every_airflow_command_imports_next_to_nothing(imported: dict[str, set[str]]) -> None:
    """Each command of Airflow's loads this, also ``airflow version``."""
    loaded = imported["cli.definition"]
    foreign = {name for name in loaded if name.split(".")[0] not in sys.stdlib_module_names}
    assert "cli.definition" in loaded
    assert foreign <= {"airflow_provider_enos", "cli", "cli.definition", "cli.option_values"}


@pytest.mark.parametrize(
    "module",
    # log.py is a type, and nothing else.
    [module for module in MODULES if module.name not in ("__init__.py", "__main__.py", "log.py")],
    ids=str,
)
def test_each_module_has_its_tests(module: Path) -> None:
    folder = TESTS / module.parent
    if module.parts[0] == "simulator":
        assert list(folder.glob("test_simulator_*.py"))
    else:
        assert (folder / f"test_{module.name}").exists()


FOR_TABS = {"airflow_provider_enos.plugins.view.app"}
"""What only an API server imports that has tabs: of Airflow 3.1 and later."""


def test_no_file_is_long() -> None:
    tests = [path for path in TESTS.rglob("*.py") if "__pycache__" not in path.parts]
    lengths = {path: len(path.read_text().splitlines()) for path in [*tests, *(PACKAGE / one for one in MODULES)]}
    assert [path.name for path, lines in lengths.items() if lines > (600 if path in tests else 400)] == []


def test_every_module_can_be_imported() -> None:
    names = [info.name for info in pkgutil.walk_packages([str(PACKAGE)], "airflow_provider_enos.")]
    passed_over = set() if hasattr(AirflowPlugin, "external_views") else FOR_TABS
    for name in names:
        if not name.endswith("__main__") and name not in passed_over:
            importlib.import_module(name)
    assert len(names) > 20


PUBLIC = {
    "cli.definition": ["get_enos_cli_commands"],
    "hooks.enos": ["EnosHook"],
    "links.enos": ["EnosFlowInstanceLink"],
    "operators.enos": [
        "DEFAULT_TRIGGER_TIME",
        "EnosCancelFlowInstanceOperator",
        "EnosDisableFlowOperator",
        "EnosEnableFlowOperator",
        "EnosTriggerFlowFromTaskOperator",
        "EnosTriggerFlowOperator",
    ],
    "sensors.enos": ["EnosFlowInstanceSensor", "EnosFlowSensor"],
    "task_groups.enos": ["EnosFlowTaskGroup"],
    "triggers.enos": ["EnosFlowEventTrigger", "EnosFlowInstanceTrigger", "EnosFlowTrigger"],
    "simulator": ["FAULTS", "EnosSimulator", "Node"],
    "testing.pytest_plugin": ["enos_simulator"],
}


@pytest.mark.parametrize("module", PUBLIC)
def test_exported_names(module: str) -> None:
    assert sorted(importlib.import_module(f"airflow_provider_enos.{module}").__all__) == sorted(PUBLIC[module])


def test_every_public_class_and_function_says_what_it_does() -> None:
    silent = [
        f"{module}:{node.name}"
        for module in MODULES
        for node in ast.parse((PACKAGE / module).read_text()).body
        if isinstance(node, (ast.ClassDef, ast.FunctionDef))
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert silent == []


def test_nothing_of_this_machine_is_in_the_package() -> None:
    for module in MODULES:
        text = (PACKAGE / module).read_text()
        assert "/home/" not in text
        assert "/tmp/" not in text
