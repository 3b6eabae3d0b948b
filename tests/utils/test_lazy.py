from __future__ import annotations

import subprocess
import sys

import pytest

from airflow_provider_enos.utils.lazy import LazyModule


def test_a_module_is_imported_when_it_is_first_used() -> None:
    code = """
import sys
from airflow_provider_enos.utils.lazy import LazyModule
calls = LazyModule("airflow_provider_enos.protocol.wire.calls")
print("airflow_provider_enos.protocol.wire.calls" in sys.modules)
print(calls.get_flow(3377).operation)
"""
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.splitlines() == ["False", "Get Flow"]


def test_what_a_module_does_not_have_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = LazyModule("json").nothing


def test_a_function_that_a_test_replaces_is_the_one_that_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    lazy = LazyModule("json")
    assert lazy.dumps(1) == "1"
    monkeypatch.setattr("json.dumps", lambda value: "replaced")
    assert lazy.dumps(1) == "replaced"
