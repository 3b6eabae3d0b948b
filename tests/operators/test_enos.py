"""The import paths that DAGs use."""

from __future__ import annotations

from airflow_provider_enos.operators import cancel, enos, schedule, trigger


def test_it_hands_on_all_operators() -> None:
    defined = {
        name: one
        for module in (cancel, schedule, trigger)
        for name, one in vars(module).items()
        if name.startswith("Enos") and one.__module__ == module.__name__
    }
    assert {name: getattr(enos, name) for name in enos.__all__ if name.startswith("Enos")} == defined
