"""Batch Processing Service v2.1: one function an operation, the request in, ``data`` of the envelope out.

To add an operation, write one function with ``@operation`` in the module of its subject:

    flows.py         look at flows, switch their schedule, delete them
    editing.py       Load Flow For Edit, Save Flow
    transfer.py      Export Flow, Import Flow
    triggers.py      the three ways to start an instance
    instances.py     flow instances
    tasks.py         task instances and their logs
    directories.py   the tree that flows lie in
    clock.py         the gateway's time and time zone

beside registry.py (what an operation is), checks.py (what is refused) and shapes.py (what replies look like).

Decided where the documentation is silent:

- A flow or parameter that does not exist is 62102; fields and parameters that are not documented are refused.
- A locked flow is 62103 as another user's is. To a locked user everything that changes something is 62103, and Save
  Flow is 62105.
- Cancelling an ended instance succeeds and changes nothing. Parameters that Update And Trigger leaves out keep their
  stored value.
- A flow with a running instance cannot be deleted (the console's rule): 62104. So it is with one that others rely on.
- Disabling a flow leaves its instances alone.
- A temporary copy, made by Load Flow For Edit, is in no list and cannot be triggered. Saving it changes the flow that
  it was made of, and the copy is gone. A type 2 that is saved leaves the flow's type as it is.
- No two flows have the same name, since links between exported flows go by names.
- Save Flow may add nodes, which are not another flow's, and drop such as no other flow relies on.
- An imported flow belongs to the owners that its struct names, of whom the user has to be one (62103), or to the user
  where it names none. Its schedule is off. Its nodes get ids of their own.
- In a graph, a task of another flow that a node relies on shows as that flow.
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
