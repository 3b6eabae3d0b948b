"""A short round of acts of chaos.py: whatever is killed, each task ends well with exactly one instance."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version

import pytest
from airflows import AIRFLOW

if AIRFLOW < (3, 3):
    pytest.skip("what tries share: from 3.3 on", allow_module_level=True)
import chaos
from stack import Simulator, Stack

LOCK_SECONDS = 3.0
SEED = "test 2573"
"""One whose choices take little time, and differ."""
OF_GROUPS = ("group_killed_while_restarting", "group_restart_comes_late", "group_triggerer_killed")
"""``make chaos`` plays the others, too, which take minutes."""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Simulator]]:
    with chaos.stage(tmp_path_factory.mktemp("chaos"), LOCK_SECONDS) as (stack, simulator):
        yield stack, simulator


@pytest.mark.parametrize(("number", "act"), list(enumerate((*chaos.TASK_ACTS, *OF_GROUPS), 1)))
def test_exactly_one_instance(stage: tuple[Stack, Simulator], number: int, act: str) -> None:
    if act == "suspended_and_superseded" and version("apache-airflow") == "3.4.0b2":
        pytest.skip("its scheduler dies if it gives up a task whose process does not answer")
    findings = chaos.play(*stage, act, SEED, number, LOCK_SECONDS)
    assert findings.runs > 0
    assert not findings.bad, "\n".join(findings.details)
