"""Exactly one instance, whatever an adversary does: the protocol against a model of EnOS and of Airflow.

``make test`` runs each machine with 300 examples, always the same ones; ``make nightly`` with 5,000 random ones, or as
many as ENOS_MODEL_EXAMPLES says.
"""

from __future__ import annotations

import os

import pytest
from hypothesis.stateful import run_state_machine_as_test
from start_adversary import NIGHTLY, NORMAL, Adversary, WithoutStore, WithStore


@pytest.mark.parametrize("machine", [WithStore, WithoutStore])
def test_exactly_one_instance(machine: type[Adversary]) -> None:
    run_state_machine_as_test(machine, settings=NIGHTLY if "ENOS_MODEL_EXAMPLES" in os.environ else NORMAL)
