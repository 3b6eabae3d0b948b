"""The earlier tries of a task, and the flow instance of each, where Airflow still knows it.

Airflow keeps a row for each try that has ended, with its state and times. It has no place there for the instance, and
deletes the XComs of a try when the next one begins. So the instance is known from the record that operators keep in the
task state store (Airflow 3.3), and from nowhere else. It is never guessed.

Only for the API server: it reads Airflow's database.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_provider_enos.plugins.view.stored import Key
from airflow_provider_enos.plugins.view.tables import EARLIER_TRIES, OF_EARLIER_TRIES
from airflow_provider_enos.protocol.start import attempts

MOST_TRIES = 20
"""The most earlier tries that are shown: the last ones."""


@dataclass(frozen=True, slots=True)
class Try:
    """A try of a task. Times are Airflow's, in ISO 8601.

    :param flow_instance_id: its flow instance; empty if it is not known.
    """

    number: int
    state: str
    start: str
    end: str
    flow_instance_id: str

    @classmethod
    def of(cls, row: Any, flow_instance_id: str | None) -> Try:
        """Return the try of a row of the task instance, or of its history."""
        return cls(
            number=row.try_number,
            state="" if row.state is None else str(row.state),
            start=_iso(row.start_date),
            end=_iso(row.end_date),
            flow_instance_id=flow_instance_id or "",
        )


def tries_before(key: Key, try_number: int, noted: object, session: Session) -> tuple[Try, ...]:
    """Return the tries before this one, the last one last.

    :param noted: the record in the task state store; None if there is none.
    """
    history = EARLIER_TRIES
    rows: Iterable[Any] = session.execute(
        select(history.try_number, history.state, history.start_date, history.end_date)
        .where(
            history.dag_id == key.dag_id,
            history.run_id == key.run_id,
            history.task_id == key.task_id,
            history.map_index == key.map_index,
            history.try_number < try_number,
        )
        .order_by(history.try_number.desc())
        .limit(MOST_TRIES),
        execution_options=OF_EARLIER_TRIES,
    )
    instances = attempts.tries_of(noted)
    return tuple(Try.of(row, instances.get(row.try_number)) for row in rows)[::-1]


def _iso(moment: datetime | None) -> str:
    return "" if moment is None else moment.isoformat()
