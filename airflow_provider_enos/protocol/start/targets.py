"""Work out what to start: names become ids, once a round."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from airflow_provider_enos.protocol.log import Log
from airflow_provider_enos.protocol.start.attempts import Intent, Names, Target
from airflow_provider_enos.protocol.wire.messages import Procedure
from airflow_provider_enos.protocol.wire.names import Choice, flow_id_of, node_id_of, quoted


@dataclass(frozen=True, slots=True)
class TargetChoice:
    """What to start, as a task says it. ``node``: the node to start from; None starts the whole flow."""

    flow: Choice
    node: Choice | None = None
    parameters: Mapping[str, str] | None = None

    def target(self, log: Log, intent: Intent | None = None, origin: str = "") -> Procedure[Target]:
        """Return the target with its ids. Nothing is sent for what is given by its id or is on record.

        A flow may have got another name since an earlier try, so a retry uses the ids that the earlier try found.

        :param intent: the record of this round.
        :param origin: names the gateway and the organisation: the ids of others are other ids.
        :raises EnosTriggerTargetError: not exactly one flow, or node of the flow, has this name.
        """
        known = intent if intent is not None and intent.origin == origin else None
        flow_id = yield from self._flow_id(log, known)
        node_id = None if self.node is None else (yield from self._node_id(flow_id, self.node, log, known))
        name = self.node.name if self.node is not None else None
        names = Names(self.flow.name or "", name or "", (node_id or 0) if name else 0)
        return Target(flow_id, node_id, self.parameters, names)

    def _flow_id(self, log: Log, known: Intent | None) -> Procedure[int]:
        if known is None or self.flow.name is None or known.flow_name != self.flow.name or not known.flow_id:
            return (yield from flow_id_of(self.flow, log))
        log.info("The flow named %s is flow %d, as an earlier try has found", quoted(self.flow.name), known.flow_id)
        return known.flow_id

    @staticmethod
    def _node_id(flow_id: int, node: Choice, log: Log, known: Intent | None) -> Procedure[int]:
        if known is None or known.flow_id != flow_id or node.name is None or known.node_name != node.name:
            return (yield from node_id_of(flow_id, node, log))
        log.info("The task node named %s is %d, as an earlier try has found", quoted(node.name), known.node_id)
        return known.node_id
