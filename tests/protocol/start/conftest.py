from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from starts import HERE, TARGET, TIME, Kept, started_id

from airflow_provider_enos.protocol.start.attempts import Attempt, Intent, Target


@pytest.fixture
def records() -> list[Intent]:
    return []


@pytest.fixture
def run(play: Any, clock: Any, log: Any, records: list[Intent]) -> Callable[..., Any]:
    """Play one try: by default a fresh one without a record."""

    def run(
        answers: Any,
        *,
        target: Target = TARGET,
        on_conflict: Any = "next_minute",
        patience: float = 3600,
        most: int = 500,
        superseded: bool = False,
        tolerance: float = 0.0,
        cancels: bool = False,
        retry_from: Any = "start",
        **attempt: Any,
    ) -> Any:
        steps = started_id(
            target,
            Attempt(**{"trigger_time": TIME, **attempt}),
            Kept(records, superseded),
            log,
            on_conflict=on_conflict,
            tolerance=tolerance,
            deadline=clock.now + patience,
            clock=clock,
            gateway_clock=clock,
            origin=HERE,
            cancels_predecessor=cancels,
            retry_from=retry_from,
        )
        return play(steps, answers, clock, most)

    return run
