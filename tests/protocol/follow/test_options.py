"""The choices and defaults that each DAG file needs when it is parsed."""

from __future__ import annotations

import ast
from pathlib import Path

from airflow_provider_enos.protocol.follow import options
from airflow_provider_enos.protocol.follow.window_rules import Rules
from airflow_provider_enos.protocol.models import FlowStatus, Outcome


def test_they_cost_nothing_to_import() -> None:
    tree = ast.parse(Path(options.__file__).read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported == {"__future__", "typing"}
    assert not any(isinstance(node, ast.Import) for node in ast.walk(tree))


def test_the_defaults_decide_each_end_and_nothing_else() -> None:
    rules = Rules.of()
    decided = (*rules.allowed, *rules.failed, *rules.skipped)
    assert sorted(map(str, decided)) == sorted(str(status) for status in FlowStatus if status.ended)
    assert {status.outcome for status in rules.allowed} == {Outcome.SUCCEEDED}
    assert {status.outcome for status in rules.skipped} == {Outcome.SKIPPED}
