"""What EnOS's replies mean, as frozen dataclasses. The rest of the package never sees the wire format.

The wire format is loose: ids are numbers or text, structures are objects or JSON text, the keys of a graph are in
camelCase or snake_case, and some objects come as a list of one. All of these are read. A field that is missing or has
another shape raises an ``EnosReplyError`` that names it.

Importing this package imports the statuses only; the other modules are imported when a name of theirs is first used.
Operators are imported wherever DAG files are parsed, and there they need nothing but the statuses.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from airflow_provider_enos.protocol.models.statuses import FlowStatus, Outcome

if TYPE_CHECKING:
    from airflow_provider_enos.protocol.models.answers import (
        AccessToken,
        current_time_of,
        directory_id_of,
        flow_id_of,
        flow_instance_id_of,
        log_of,
        nothing,
        time_zone_of,
    )
    from airflow_provider_enos.protocol.models.directories import Directory, directories_of
    from airflow_provider_enos.protocol.models.exports import (
        ExportedRelation,
        ExportedTask,
        FlowExport,
        FlowLink,
        LinkRelation,
        TaskLink,
    )
    from airflow_provider_enos.protocol.models.flows import (
        Cycle,
        Flow,
        FlowNode,
        FlowPage,
        FlowReference,
        FlowSummary,
        FlowType,
        MyFlow,
        Relation,
        my_flows_of,
        pairs,
    )
    from airflow_provider_enos.protocol.models.instances import (
        FlowInstance,
        FlowInstanceGraph,
        FlowInstanceNode,
        FlowInstancePage,
        FlowInstanceReference,
        TaskInstance,
    )
else:

    def __getattr__(name: str) -> object:
        if name in __all__:
            for module in ("answers", "instances", "flows", "exports", "directories"):
                members = vars(import_module(f"{__name__}.{module}"))
                if name in members:
                    return globals().setdefault(name, members[name])
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "AccessToken",
    "Cycle",
    "Directory",
    "ExportedRelation",
    "ExportedTask",
    "Flow",
    "FlowExport",
    "FlowInstance",
    "FlowInstanceGraph",
    "FlowInstanceNode",
    "FlowInstancePage",
    "FlowInstanceReference",
    "FlowLink",
    "FlowNode",
    "FlowPage",
    "FlowReference",
    "FlowStatus",
    "FlowSummary",
    "FlowType",
    "LinkRelation",
    "MyFlow",
    "Outcome",
    "Relation",
    "TaskInstance",
    "TaskLink",
    "current_time_of",
    "directories_of",
    "directory_id_of",
    "flow_id_of",
    "flow_instance_id_of",
    "log_of",
    "my_flows_of",
    "nothing",
    "pairs",
    "time_zone_of",
]
