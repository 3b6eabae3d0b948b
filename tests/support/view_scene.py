"""The scene for the view: flows, and one task instance in each state that the view shows."""

from __future__ import annotations

import time

from pages import Site

HOSTILE_NAME = "<script>document.title='owned'</script>"
HOSTILE_NAMES = {
    81031: HOSTILE_NAME,
    81032: '"><img src=x onerror="document.title=\'owned\'">',
    81033: "invoice\u202efdp.exe",
    81034: "long " * 200,
    81035: "日本語 🙂 \ud800",
}
HOSTILE_LOG = (
    "</pre></script><script>document.title='owned'</script>\n<img src=x onerror=alert(1)>\n\x1b[31mred\u202e\n"
)
WHY_LOAD_FAILED = "ERROR load: dw.meter_readings has no column 'reactive_power'"
END_OF_WINDOW = 1594080000000
"""2020-07-07T00:00:00Z, where the window ends for which a sensor waits."""
READINGS = {
    "name": "meter_readings_daily",
    "relations": [(0, 1), (1, 2), (1, 3), (2, 4), (3, 4)],
    "names": ("ingest", "clean", "aggregate", "validate", "publish"),
}


def set_up(site: Site) -> None:
    """Add the flows, and start a run of each DAG."""
    sim = site.sim
    _add_readings(site, 8101, "meter_readings_daily", progress="manual", logs={81010: "read 1812 rows\ndone"})
    _add_readings(
        site,
        8102,
        "fails_at_clean",
        progress="at_once",
        ends_as="FAIL",
        failing_task=81021,
        logs={81021: WHY_LOAD_FAILED},
    )
    sim.add_flow(
        8103,
        name=HOSTILE_NAME,
        tasks=HOSTILE_NAMES,
        relations=[(81031, 81032), (81032, 81033), (81031, 81034)],
        progress="manual",
        logs={81031: HOSTILE_LOG},
    )
    _add_readings(site, 8104, "watched_by_sensors", progress="manual")
    _add_readings(site, 8105, "comes_to_an_end", progress="manual")
    for flow_id in (8106, 8107):
        logs = {flow_id * 10 + 1: "read 1812 rows\ndropped 3 that came twice\nwrote 1809 rows\n"}
        _add_readings(site, flow_id, "meter_readings_daily", progress="manual", logs=logs)
    _add_readings(site, 8108, "fails_and_is_retried", progress="at_once", ends_as="FAIL")
    _add_readings(site, 8109, "scheduled_by_enos", progress="at_once", ends_as="FAIL")
    sim.trigger(8109, trigger_time=END_OF_WINDOW, type=1)
    site.watched = sim.trigger(8104).id
    _add_readings(site, 8110, "fails_twice", progress="at_once", ends_as="FAIL")
    _add_readings(site, 8111, "runs_each_day", progress="manual", type=1)
    ran_before(site, 8111, days=5)
    _add_readings(site, 8112, "half_done", progress="manual")
    _add_readings(site, 8113, "fails_at_clean", progress="at_once", ends_as="FAIL", failing_task=81131)
    for dag_id in ("runs", "fails", "hostile", "ends", "not_of_enos", "meter_readings", "meter_readings_in_worker"):
        site.run(dag_id)
    for dag_id in ("retries", "window", "forgotten", "never_starts", "no_template"):
        site.run(dag_id)
    site.run("senses", {"instance": site.watched})
    site.run("mapped", {"instances": [site.watched, "8104-20200101000000"]})
    site.run("waits")


def _add_readings(site: Site, flow_id: int, name: str, **more: object) -> None:
    first = flow_id * 10
    site.sim.add_flow(
        flow_id,
        name=name,
        tasks={first + number: task for number, task in enumerate(READINGS["names"])},
        relations=[(first + a, first + b) for a, b in READINGS["relations"]],
        **more,  # type: ignore[arg-type]
    )


def ran_before(site: Site, flow_id: int, *, days: int) -> None:
    """Let the schedule of the flow have started it on the last days."""
    (flow,) = (one for one in site.sim.flows if one.flow_id == flow_id)
    now = int(time.time() * 1000)
    for day in range(1, days + 1):
        site.sim._state.instances.add_past(flow, now - day * 86_400_000)


def half_way(site: Site, dag_id: str, flow_id: int) -> str:
    """Wait for the running instance of this DAG, and return it: its first node has ended, its second one runs."""
    site.run(dag_id).wait_for("deferred", seconds=120)
    *_, instance = site.sim.instances_of(flow_id)
    site.sim.set_node_status(instance.id, flow_id * 10, "SUCCESS")
    site.sim.set_node_status(instance.id, flow_id * 10 + 1, "RUNNING")
    return instance.id
