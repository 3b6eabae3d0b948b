"""The connection to an EnOS gateway."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from time import time
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

from airflow_provider_enos.errors import EnosApiError, EnosConfigError
from airflow_provider_enos.hooks.boundary import async_settings
from airflow_provider_enos.protocol import arguments, calls, trigger_time as times
from airflow_provider_enos.protocol.models import FlowStatus
from airflow_provider_enos.protocol.paging import PAGE_SIZE, Pager
from airflow_provider_enos.protocol.text import excerpt
from airflow_provider_enos.provider_info import CONNECTION_FIELDS, FIELD_BEHAVIOUR

if TYPE_CHECKING:
    from airflow_provider_enos.client.checking import Step
    from airflow_provider_enos.client.settings import Settings
    from airflow_provider_enos.client.sync import SyncClient
    from airflow_provider_enos.protocol.messages import Call
    from airflow_provider_enos.protocol.models import Flow, FlowInstance, TaskInstance

__all__ = ["EnosHook"]

T = TypeVar("T")


class EnosHook(BaseHook):
    """Signs and sends calls of the EnOS Batch Processing Service v2.1 through the API gateway.

    One method an operation, named after its page in the EnOS documentation. Ids are numbers or digits; a trigger time
    is what ``protocol.trigger_time.parse`` takes. Every method raises ``EnosConfigError`` before anything is sent if
    the connection or an argument cannot work, and else an ``EnosError``; see ``airflow_provider_enos.errors``. Calls
    that are safe to repeat are repeated with pauses; a trigger is not.

    :param enos_conn_id: the Airflow connection, of type ``enos``.
    :param org_id: the EnOS organisation, in place of the connection's ``org_id``.
    :param user_id: the EnOS user, in place of the connection's ``user_id``.
    """

    conn_name_attr = "enos_conn_id"
    default_conn_name = "enos_default"
    conn_type = "enos"
    hook_name = "EnOS"

    def __init__(
        self,
        enos_conn_id: str = default_conn_name,
        *,
        org_id: str | None = None,
        user_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.enos_conn_id = enos_conn_id
        self.org_id = org_id
        self.user_id = user_id

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """How Airflow before 3.2 shows the connection's common fields."""
        return {name.replace("-", "_"): value for name, value in FIELD_BEHAVIOUR.items()}

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """The connection's own fields, for Airflow before 3.2."""
        from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
        from wtforms import BooleanField, StringField

        widgets: dict[str, Any] = {}
        for name, field in CONNECTION_FIELDS.items():
            label, description = field["label"], field["description"]
            if field["schema"]["type"] == "boolean":
                widgets[name] = BooleanField(label, description=description)
            else:
                widgets[name] = StringField(label, description=description, widget=BS3TextFieldWidget())
        return widgets

    @cached_property
    def settings(self) -> Settings:
        """What the connection says, read and checked once. Raises ``EnosConfigError``."""
        from airflow_provider_enos.client import settings

        connection = self.get_connection(self.enos_conn_id)
        return settings.read(connection, org_id=self.org_id, user_id=self.user_id)

    @cached_property
    def client(self) -> SyncClient:
        """The client of this hook: one HTTP session, and the token of all hooks with this gateway and key."""
        from airflow_provider_enos.client.sync import SyncClient

        return SyncClient(self.settings)

    def get_conn(self) -> SyncClient:
        """The same as ``client``."""
        return self.client

    def run(self, call: Call[T]) -> T:
        """Carries out any call, such as one of ``protocol.calls`` that has no method here."""
        return self.client.call(call)

    async def arun(self, call: Call[T]) -> T:
        """The same without blocking the event loop. Opens a session for this one call."""
        from airflow_provider_enos.client.aio import AsyncClient

        settings = await async_settings(self.enos_conn_id, org_id=self.org_id, user_id=self.user_id)
        async with AsyncClient(settings) as client:
            return await client.call(call)

    def trigger_flow_from_task(self, flow_id: int | str, from_task_id: int | str, trigger_time: Any) -> str:
        """Trigger Flow From Task: runs a task node and all downstream of it; gives the flow instance id."""
        return self.run(
            calls.trigger_flow_from_task(
                arguments.number(flow_id, "flow_id"),
                arguments.number(from_task_id, "from_task_id"),
                _milliseconds(trigger_time, "trigger_time"),
            )
        )

    def trigger_flow(self, flow_id: int | str, trigger_time: Any) -> str:
        """Trigger Flow: runs the whole flow; gives the flow instance id."""
        return self.run(
            calls.trigger_flow(arguments.number(flow_id, "flow_id"), _milliseconds(trigger_time, "trigger_time"))
        )

    def update_and_trigger_flow(self, flow_id: int | str, trigger_time: Any, parameters: Mapping[str, str]) -> str:
        """Update And Trigger Flow: runs the whole flow once with other parameters; gives the flow instance id."""
        return self.run(
            calls.update_and_trigger_flow(
                arguments.number(flow_id, "flow_id"),
                _milliseconds(trigger_time, "trigger_time"),
                arguments.parameters(parameters),
            )
        )

    def get_flow(self, flow_id: int | str) -> Flow:
        """Get Flow: the flow with its task nodes."""
        return self.run(calls.get_flow(arguments.number(flow_id, "flow_id")))

    def get_flow_instance(self, flow_instance_id: str) -> FlowInstance:
        """Get Flow Instance: its status and that of its nodes."""
        return self.run(calls.get_flow_instance(arguments.instance(flow_instance_id, "flow_instance_id")))

    def list_flow_instances(
        self,
        from_trigger_time: Any,
        to_trigger_time: Any,
        *,
        type: int | None = None,
        status: FlowStatus | Iterable[FlowStatus] = (),
        owner: str = "",
        expression: str = "",
        page_size: int = PAGE_SIZE,
    ) -> Iterator[FlowInstance]:
        """List Flow Instances: all with a trigger time from the first up to, but not including, the second.

        Pages are asked for as they are needed. No instance comes twice, also where the gateway numbers pages from 0.

        :param type: 0 manual, 1 periodic, 2 temporary; None: all of them.
        :param status: only those with one of these; none given: any.
        :param owner: only those of the owner with this user name.
        :param expression: only those whose id or flow name is like it.
        :param page_size: instances a page; EnOS recommends 50 at the most.
        """
        first = _milliseconds(from_trigger_time, "from_trigger_time")
        end = _milliseconds(to_trigger_time, "to_trigger_time")
        if isinstance(type, bool) or type not in (None, *calls.ALL_FLOW_TYPES):
            raise EnosConfigError("type", repr(type), accepted="0 (manual), 1 (periodic), 2 (temporary) or None")
        types = calls.ALL_FLOW_TYPES if type is None else (type,)
        wanted = tuple(status) if isinstance(status, Iterable) else (status,)
        for one in wanted:
            if not isinstance(one, FlowStatus) or not one.known:
                raise EnosConfigError("status", repr(one), accepted="members of FlowStatus, such as FlowStatus.FAIL")
        if isinstance(page_size, bool) or not isinstance(page_size, int) or not 1 <= page_size <= 1000:
            raise EnosConfigError("page_size", repr(page_size), accepted="1 to 1000")
        owner, expression = arguments.text(owner, "owner"), arguments.text(expression, "expression")
        return self._all_pages(
            Pager(
                lambda page_no, type=one: calls.list_flow_instances(  # type: ignore[misc]
                    type=type,
                    from_trigger_time=first,
                    to_trigger_time=end,
                    page_no=page_no,
                    page_size=page_size,
                    status=wanted,
                    owner=owner,
                    expression=expression,
                ),
                page_size,
            )
            for one in types
        )

    def _all_pages(self, pagers: Iterable[Pager]) -> Iterator[FlowInstance]:
        for pager in pagers:
            while not pager.done:
                try:
                    page = self.run(pager.call)
                except EnosApiError as error:
                    pager.refused(error)
                else:
                    yield from pager.take(page)

    def cancel_flow_instance(self, flow_instance_id: str) -> None:
        """Cancel Flow Instance. EnOS does not say whether it has ended when it answers: ask for its status."""
        self.run(calls.cancel_flow_instance(arguments.instance(flow_instance_id, "flow_instance_id")))

    def get_task_instance(self, task_instance_id: str) -> TaskInstance:
        """Get Task Instance: one run of a task node."""
        return self.run(calls.get_task_instance(arguments.instance(task_instance_id, "task_instance_id")))

    def get_task_instance_log(self, task_instance_id: str, max_length: int | None = None) -> str:
        """Get Task Instance Log: the text of a node's run, ``max_length`` characters at most (EnOS's default: 2^20).

        Where there is none yet, ``EnosNotFoundError`` is raised.
        """
        length = None if max_length is None else arguments.number(max_length, "max_length")
        return self.run(calls.get_task_instance_log(arguments.instance(task_instance_id, "task_instance_id"), length))

    def get_current_time(self) -> int:
        """Get Current Time: epoch milliseconds by EnOS's clock."""
        return self.run(calls.get_current_time())

    def get_time_zone(self) -> str:
        """Get Timezone: the zone of EnOS's business dates, such as ``GMT+8``."""
        return self.run(calls.get_time_zone())

    def check_connection(self) -> Iterator[Step]:
        """Whether the connection works, step by step: each once it is known, a failed one as the last.

        Changes nothing in EnOS. Each reply may take 15 seconds, or the connection's ``timeout`` if that is shorter.
        """
        from airflow_provider_enos.client import checking

        try:
            settings = self.settings
        except AirflowNotFoundException as error:
            variable = f"AIRFLOW_CONN_{self.enos_conn_id.upper()}"
            to_do = f"Add it in Airflow (Admin > Connections, airflow connections add), or set {variable}."
            yield checking.Step("connection", "failed", excerpt(str(error)), excerpt(to_do))
            return
        except EnosConfigError as error:
            yield checking.failed("connection", error)
            return
        yield checking.Step("connection", "ok", f"{self.enos_conn_id} can be read")
        yield from checking.steps(settings)

    def test_connection(self) -> tuple[bool, str]:
        """Whether the connection works, and in a sentence what is wrong with it if not."""
        steps = list(self.check_connection())
        if steps[-1].state == "failed":
            return False, steps[-1].said
        settings = self.settings
        said = f"Connected to {settings.base_url} as user {settings.user_id} of organisation {settings.org_id}."
        return True, " ".join([said, *(step.said for step in steps if step.state == "note")])


def _milliseconds(value: Any, field: str) -> int:
    return times.parse(value, now=int(time() * 1000), field=field)
