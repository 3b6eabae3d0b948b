"""The facets that are reported to OpenLineage. Imported only when Airflow's OpenLineage provider asks for them.

The job facet ``enos_flow`` names the flow, and the run facet ``enos_flowInstances`` its instances. OpenLineage's own
``externalQuery`` names the last instance, for tools that know nothing of EnOS.

https://openlineage.io/docs/spec/facets/run-facets/external_query
"""

from __future__ import annotations

from typing import Any

from airflow.providers.openlineage.extractors import OperatorLineage
from attrs import define
from openlineage.client.facet_v2 import JobFacet, RunFacet, external_query_run


@define
class EnosFlowJobFacet(JobFacet):
    """The flow, its gateway, and the task node that it is started from, or that the task of a group is about.

    A flow or node that the task gives by its name has this name, and its id as soon as it is known.
    """

    flowId: int | None = None
    fromTaskId: int | None = None
    gateway: str | None = None
    flowName: str | None = None
    fromTaskName: str | None = None


@define
class EnosFlowInstancesRunFacet(RunFacet):
    """The flow instances that this run of the task has started or waited for."""

    flowInstanceIds: list[str]
    gateway: str


def lineage_of(
    flow_id: int | None,
    from_task_id: int | None,
    flow_instance_ids: tuple[str, ...],
    gateway: str | None,
    flow_name: str | None = None,
    from_task_name: str | None = None,
) -> OperatorLineage[Any, Any]:
    """Return facets for what is known. There are no datasets: EnOS does not say which data a flow reads or writes."""
    job_facets: dict[str, JobFacet] = {}
    run_facets: dict[str, RunFacet] = {}
    if flow_id is not None or flow_name is not None:
        job_facets["enos_flow"] = EnosFlowJobFacet(flow_id, from_task_id, gateway, flow_name, from_task_name)
    if flow_instance_ids and gateway is not None:
        ids = list(flow_instance_ids)
        run_facets["enos_flowInstances"] = EnosFlowInstancesRunFacet(ids, gateway)
        run_facets["externalQuery"] = external_query_run.ExternalQueryRunFacet(ids[-1], gateway)
    return OperatorLineage(run_facets=run_facets, job_facets=job_facets)
