"""The import paths that DAGs use."""

from __future__ import annotations

import pytest

from airflow_provider_enos.sensors import enos, flow, flow_instance


@pytest.mark.parametrize("module", [flow, flow_instance], ids=lambda module: module.__name__)
def test_each_sensor_can_be_imported_from_here(module: object) -> None:
    for name in module.__all__:  # type: ignore[attr-defined]
        assert getattr(enos, name) is getattr(module, name)
        assert name in enos.__all__
