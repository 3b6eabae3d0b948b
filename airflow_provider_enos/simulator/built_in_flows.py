"""The flows a new simulator holds.

| flow | its instances                                                                            |
| ---- | ---------------------------------------------------------------------------------------- |
| 3377 | SUCCESS. The documentation's own example: ingest, then 108580 clean, aggregate, publish   |
| 4001 | FAIL. The second node, 40012 load, fails, with a log that says why; 40015 still runs then |
| 4002 | CANCEL: somebody stops them in EnOS                                                      |
| 4003 | SKIP                                                                                     |
| 4004 | TIMEOUT                                                                                  |
| 4005 | INTERNAL_ERROR                                                                           |
| 4006 | none: the flow has no task, 62104                                                        |
| 4007 | none: the flow is locked, 62103                                                          |
| 4008 | none: the flow is another user's, 62103                                                  |
| 4009 | SUCCESS, after a minute                                                                  |
| 4010 | SUCCESS. Periodic, of cycle D, and its schedule is on                                     |
| 4011 | SUCCESS. It relies on 3377, so that cannot be deleted                                     |

They lie in directories: 3377 and 4011 in "meter data", 4010 in "meter data/scheduled", the others in "examples".
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from airflow_provider_enos.simulator.catalog import Catalog
from airflow_provider_enos.simulator.flows import PERIODIC, Flow, flow_from

# Fixed, so that a program finds a directory again in the next simulator.
METER_DATA = "62e3038840514caf9af60ad36878851e"
SCHEDULED = "5d1f0a7c3b9e4826a04c7e915f2b6d38"
EXAMPLES = "c07b54e2196f4d3f8a6e0b7d93f1285c"

_WHY_LOAD_FAILED = """\
2020-07-06 06:27:03 INFO  load: 1812 rows read from stage.meter_readings
2020-07-06 06:27:04 ERROR load: cannot write to dw.meter_readings
Traceback (most recent call last):
  File "load.py", line 41, in main
    table.write(rows)
  File "load.py", line 17, in write
    raise ColumnMissing(column)
ColumnMissing: dw.meter_readings has no column 'reactive_power'"""


def add_built_in_flows(catalog: Catalog) -> None:
    """Add the directories and flows of the table above to an empty catalog."""
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
            tasks={40091: "extract", 40092: "load", 40093: "report"},
            progress=("seconds", 60),
        ),
    ]
