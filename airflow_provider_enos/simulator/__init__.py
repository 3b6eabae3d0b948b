"""An EnOS API gateway to run on your machine: for demonstrations, tests of this package, and tests of your DAGs.

    from airflow_provider_enos.simulator import EnosSimulator

    with EnosSimulator() as sim:
        os.environ["AIRFLOW_CONN_ENOS_DEFAULT"] = sim.connection_json
        ...
        assert sim.count("flows/triggerFromTask") == 1

It checks tokens, signatures, timestamps and replays with code of its own, which is written from the documentation and
shares nothing with the client: a simulator that used the signer of the client would accept its mistakes.

    simulator.py      EnosSimulator: start, stop, connections
    simulation.py     what it does apart from listening: flows, instances, faults, holds, records
    control.py        /_simulator/...: the same for other processes
    server.py         sockets: bytes in, bytes out
    host_check.py     refuses requests of web pages, by Host and Origin
    gateway.py        checks of the gateway: tokens, signatures, timestamps, replays
    service.py        Batch Processing Service v2.1: finds the operation, checks the tenant
    operations/       one function for each operation
    state.py          all that the simulated EnOS holds
    catalog.py        the flows and directories
    instance_store.py the instances of all flows, and how they progress
    instances.py      what an instance is
    timetable.py      when the nodes of an instance run, and what they show
    schedules.py      the schedules of periodic flows
    flows.py          what a flow is
    directories.py    what a directory is
    built_in_flows.py the flows of a new simulator
    state_file.py     flows and instances in a file, so that they outlive the process
    faults.py         ways in which requests go wrong, on demand
    held_requests.py  requests that stop at a moment until they are released
    config.py         the settings, and a switch for each question that the documentation leaves open
    switch_file.py    switches in a file, as a survey of a gateway writes it
    wire.py           Request, Reply and Record, which these modules pass to each other
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_enos.simulator.faults import FAULTS
    from airflow_provider_enos.simulator.flows import Node
    from airflow_provider_enos.simulator.simulator import EnosSimulator

__all__ = ["FAULTS", "EnosSimulator", "Node"]


def __getattr__(name: str) -> object:
    # The HTTP server is imported on first use, not when Airflow scans the package.
    if name == "EnosSimulator":
        from airflow_provider_enos.simulator.simulator import EnosSimulator

        return EnosSimulator
    if name == "Node":
        from airflow_provider_enos.simulator.flows import Node

        return Node
    if name == "FAULTS":
        from airflow_provider_enos.simulator.faults import FAULTS

        return FAULTS
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
