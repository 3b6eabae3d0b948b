"""Batch Processing Service v2.1: one function for each operation, from a ``Call`` to the ``data`` of the envelope.

To add an operation, write a function with ``@operation`` in the module of its subject:

    flows.py         read flows, switch their schedule, delete them
    editing.py       Load Flow For Edit, Save Flow
    transfer.py      Export Flow, Import Flow
    triggers.py      the three ways to start an instance
    instances.py     flow instances
    tasks.py         task instances and their logs
    directories.py   the directories of flows
    clock.py         the gateway's time and time zone

Beside these are registry.py (what an operation is), checks.py (checks of parameters) and shapes.py (replies).

Where the documentation is silent, the simulator does this:

- An unknown flow or parameter is 62102. Fields and parameters that are not documented are refused.
- A locked flow is 62103, as another user's flow is. For a locked user, every operation that changes something is
  62103, and Save Flow is 62105.
- Cancelling an ended instance succeeds and changes nothing. Parameters that Update And Trigger leaves out keep their
  stored values.
- A flow cannot be deleted (62104) while an instance of it runs, which is a rule of the console, or another flow
  relies on it.
- Disabling a flow does not change its instances.
- A temporary copy, created by Load Flow For Edit, is in no list and cannot be triggered. Saving it changes the
  original flow and deletes the copy. Saving the type 2 does not change the type of the flow.
- No two flows have the same name, since exported flows refer to each other by name.
- Save Flow may add nodes that no other flow has, and remove nodes that no other flow relies on.
- The owners of an imported flow are those in its struct, of which the user must be one (62103); without owners, the
  user. Its schedule is off. Its nodes get new ids.
- Where a node relies on a task of another flow, the graph shows that flow.
"""

from __future__ import annotations

from airflow_provider_enos.simulator.operations import (
    clock,
    directories,
    editing,
    flows,
    instances,
    tasks,
    transfer,
    triggers,
)

__all__ = ["clock", "directories", "editing", "flows", "instances", "tasks", "transfer", "triggers"]
