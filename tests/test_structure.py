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
    "hooks": {"protocol", "client", "utils"},
    "utils": {"protocol", "client", "hooks", "utils"},
    # Where links are served, it is the plugin that knows what is on record of a task.
    "links": {"links", "plugins"},
    "triggers": {"protocol", "client", "hooks", "utils", "links", "triggers"},
    "operators": {"protocol", "client", "hooks", "utils", "links", "triggers", "operators"},
    "sensors": {"protocol", "client", "hooks", "utils", "links", "triggers", "sensors"},
    "cli": {"protocol", "client", "hooks", "cli"},
    "plugins": {"protocol", "client", "plugins"},
    # It checks the client, so it shares nothing with it.
    "simulator": {"simulator"},
    "testing": {"client", "triggers", "simulator", "testing"},
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


FOR_A_RUN = {
    *(
        f"protocol.follow.{module}"
        for module in ("coverage", "end_feed", "listing", "failure_report", "log_tail", "flow_events")
    ),
    "protocol.wire.exchange",
    *(f"protocol.models.{module}" for module in ("directories", "exports", "flows", "instances")),
}
"""Of this package, what only a task that runs needs, beside drivers and triggers: much of it takes long to import."""


@pytest.mark.parametrize("module", ["operators.enos", "sensors.enos", "hooks.enos", "simulator"])
def test_parsing_a_dag_imports_nothing_that_only_a_run_needs(module: str) -> None:
    """DAG files are parsed all day: requests, aiohttp and what reads replies are imported when they are used."""
    code = (
        "import sys, airflow.sdk\n" if importlib.util.find_spec("airflow.sdk") else "import sys, airflow.models\n"
    ) + (f"before = set(sys.modules)\nimport airflow_provider_enos.{module}\nprint(*sorted(set(sys.modules) - before))")
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = set(printed.strip().splitlines()[-1].split())
    assert f"airflow_provider_enos.{module}" in loaded
    assert not {name.split(".")[0] for name in loaded} & {"requests", "aiohttp", "urllib3"}
    ours = {name.removeprefix("airflow_provider_enos.") for name in loaded if name.startswith("airflow_provider_enos.")}
    assert not ours & FOR_A_RUN
    assert not {name.split(".")[0] for name in ours} & {"client", "triggers"}


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
