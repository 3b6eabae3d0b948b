"""The flows of a new simulator.

Their directories: "meter data" for 3377 and 4011, "meter data/scheduled" for 3388 and 4010, "examples" for the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from types import MappingProxyType

from airflow_provider_enos.simulator.catalog import Catalog
from airflow_provider_enos.simulator.flows import PERIODIC, Flow, Node, flow_from

BUILT_IN_FLOWS: Mapping[int, str] = MappingProxyType(
    {
        3377: "ends as SUCCESS. The flow of the EnOS documentation: ingest, 108580 clean, aggregate, publish",
        3388: "ends as SUCCESS. Runs each hour, by a schedule of its own",
        4001: "ends as FAIL. Its second node, 40012 load, fails with a log that says why, while another branch runs on",
        4002: "ends as CANCEL, as when somebody stops it in EnOS",
        4003: "ends as SKIP",
        4004: "ends as TIMEOUT",
        4005: "ends as INTERNAL_ERROR",
        4006: "cannot be triggered (62104): it has no nodes",
        4007: "cannot be triggered (62103): it is locked",
        4008: "cannot be triggered (62103): it belongs to another user",
        4009: "ends as SUCCESS, after a minute. To look at it while it runs, or to cancel it",
        4010: "ends as SUCCESS. Runs each day at midnight, by a schedule of its own",
        4011: "ends as SUCCESS. Relies on 3377, which therefore cannot be deleted",
    }
)
"""What each built-in flow is good for. ``--help`` and ``docs/testing.md`` show it."""

# Fixed, so that a program finds a directory again in the next simulator.
METER_DATA = "62e3038840514caf9af60ad36878851e"
SCHEDULED = "5d1f0a7c3b9e4826a04c7e915f2b6d38"
EXAMPLES = "c07b54e2196f4d3f8a6e0b7d93f1285c"

_WHY_LOAD_FAILED = """\
{started} INFO  load: 1812 rows read from stage.meter_readings
{ended} ERROR load: cannot write to dw.meter_readings
Traceback (most recent call last):
  File "load.py", line 41, in main
    table.write(rows)
  File "load.py", line 17, in write
    raise ColumnMissing(column)
ColumnMissing: dw.meter_readings has no column 'reactive_power'"""


def add_built_in_flows(catalog: Catalog) -> None:
    """Add the built-in flows and their directories to an empty catalog."""
    catalog.add_directory("meter data", id=METER_DATA)
    catalog.add_directory("scheduled", METER_DATA, id=SCHEDULED)
    catalog.add_directory("examples", id=EXAMPLES)
    catalog.add_flows(_built_in_flows())


@cache
def _built_in_flows() -> tuple[Flow, ...]:
    return (*_flows_of_meter_data(), *(replace(flow, directory=EXAMPLES) for flow in _examples()))


def _flows_of_meter_data() -> list[Flow]:
    return [
        flow_from(
            3377,
            name="meter_readings_daily",
            tasks={108579: "ingest", 108580: "clean", 108581: "aggregate", 108582: "publish"},
            directory=METER_DATA,
        ),
        flow_from(
            3388,
            name="meter_readings_hourly",
            tasks={33881: "collect", 33882: "check"},
            type=PERIODIC,
            cycle="H",
            freq="0 0 * * * ? *",
            directory=SCHEDULED,
        ),
        flow_from(
            4010,
            name="scheduled_daily",
            tasks={40101: "extract", 40102: "load"},
            type=PERIODIC,
            directory=SCHEDULED,
        ),
        flow_from(
            4011,
            name="relies_on_meter_readings",
            tasks={40111: "report", 40112: "send"},
            directory=METER_DATA,
            links=[("a1", 3377)],
            link_edges=[("a1", 40111)],
        ),
    ]


def _examples() -> list[Flow]:
    return [
        flow_from(
            4001,
            name="fails_at_load",
            tasks={40011: "extract", 40012: "load", 40013: "report", 40014: "archive", 40015: "tidy_up"},
            relations=[(40011, 40012), (40012, 40013), (40011, 40014), (40014, 40015)],
            progress=("polls", 4),
            ends_as="FAIL",
            failing_task=40012,
            logs={40012: _WHY_LOAD_FAILED},
        ),
        flow_from(4002, name="stopped_by_somebody", tasks={40021: "extract", 40022: "load"}, ends_as="CANCEL"),
        flow_from(4003, name="nothing_to_do", tasks={40031: "extract", 40032: "load"}, ends_as="SKIP"),
        flow_from(4004, name="takes_too_long", tasks={40041: "extract", 40042: "load"}, ends_as="TIMEOUT"),
        flow_from(4005, name="breaks_enos", tasks={40051: "extract"}, ends_as="INTERNAL_ERROR"),
        flow_from(4006, name="without_tasks"),
        flow_from(4007, name="locked", tasks={40071: "extract"}, locked=True),
        flow_from(4008, name="of_another_user", tasks={40081: "extract"}, owner="another_user"),
        flow_from(
            4009,
            name="slow",
            tasks={
                40091: Node("extract", seconds=15),
                40092: Node("load", seconds=35),
                40093: Node("report", seconds=10),
            },
            progress=("seconds", 60),
        ),
    ]
