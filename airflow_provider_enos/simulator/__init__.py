"""An EnOS API gateway that can be run: for demonstrations, for this package's tests and for users' own DAG
tests.

    from airflow_provider_enos.simulator import EnosSimulator

    with EnosSimulator() as sim:
        os.environ["AIRFLOW_CONN_ENOS_DEFAULT"] = sim.connection_json
        ...
        assert sim.count("flows/triggerFromTask") == 1

It checks tokens, signatures, timestamps and replays with code of its own, written from the documentation and
sharing nothing with the client: a simulator that called the client's signer would accept a broken signer.

    server.py     sockets: bytes in, bytes out
    doors.py      who may talk to it: Host and Origin
    wire.py       what travels between the modules: Request, Reply, Record
    config.py     the settings, and a switch for each question the documentation leaves open
    gateway.py    what the gateway refuses: tokens, signatures, timestamps, replays
    service.py    Batch Processing Service v2.1: finds the operation, and checks who asks
    operations/   one function an operation
    flows.py      what a flow is
    directories.py  the tree that flows lie in
    state.py      the flows there are, their instances, and how these progress
    seeds.py      the directories and flows a new simulator holds
    faults.py     what can go wrong, on request
    holds.py      requests that are stopped at a moment until told
    saved.py      directories, flows and instances in a file, so that they outlive the process
    control.py    /_simulator/...: the same things from outside the process
    simulator.py  EnosSimulator, which puts these together
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_enos.simulator.faults import FAULTS
    from airflow_provider_enos.simulator.simulator import EnosSimulator

__all__ = ["FAULTS", "EnosSimulator"]


def __getattr__(name: str) -> object:
    # The HTTP server is imported when it is wanted, not when Airflow scans the package.
    if name == "EnosSimulator":
        from airflow_provider_enos.simulator.simulator import EnosSimulator

        return EnosSimulator
    if name == "FAULTS":
        from airflow_provider_enos.simulator.faults import FAULTS

        return FAULTS
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
