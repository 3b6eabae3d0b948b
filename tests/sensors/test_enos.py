"""The import paths that DAGs use."""

from __future__ import annotations

from airflow_provider_enos.sensors import enos, flow, flow_instance


def test_it_hands_on_all_sensors() -> None:
    defined = {
        name: one
        for module in (flow, flow_instance)
        for name, one in vars(module).items()
        if name.startswith("Enos") and one.__module__ == module.__name__
    }
    assert {name: getattr(enos, name) for name in enos.__all__ if name.startswith("Enos")} == defined
