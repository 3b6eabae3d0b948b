"""A task group against a model of EnOS and of Airflow, whatever an adversary does.

``make test`` runs the machine with some hundred examples, always the same ones; ``make nightly`` with many random ones.
"""

from __future__ import annotations

import os

from group_adversary import GroupAdversary
from hypothesis.stateful import run_state_machine_as_test
from start_adversary import NIGHTLY, NORMAL


def test_group_follows_enos() -> None:
    run_state_machine_as_test(GroupAdversary, settings=NIGHTLY if "ENOS_MODEL_EXAMPLES" in os.environ else NORMAL)
