"""What travels shows no secret, and the protocol needs nothing but the standard library."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import FrozenInstanceError

import pytest

from airflow_provider_enos.protocol.wire.messages import Request, Response

FOREIGN = """
import importlib, json, pkgutil, sys
before = set(sys.modules)
import airflow_provider_enos.protocol as protocol
prefix = "airflow_provider_enos.protocol."
names = [module.name.removeprefix(prefix) for module in pkgutil.walk_packages(protocol.__path__, prefix)]
for name in names:
    importlib.import_module(prefix + name)
print(json.dumps([names, sorted(set(sys.modules) - before)]))
"""


def test_standard_library_only() -> None:
    """A fresh interpreter that imports all of it loads no other package, and none of ours that does I/O."""
    printed = subprocess.run([sys.executable, "-c", FOREIGN], capture_output=True, check=True, text=True).stdout
    names, loaded = json.loads(printed)
    assert {"wire.exchange", "models.flows", "start.starting", "follow.instance_wait"} <= set(names)
    roots = {name.partition(".")[0] for name in loaded} - {"airflow_provider_enos"}
    # Of the standard library too, under a name that holds the platform's.
    roots = {name for name in roots if not name.startswith("_sysconfigdata_")}
    assert roots <= sys.stdlib_module_names
    ours = {name for name in loaded if name.startswith("airflow_provider_enos.")}
    allowed = {"airflow_provider_enos.errors", "airflow_provider_enos.protocol"}
    assert ours == allowed | {f"airflow_provider_enos.protocol.{name}" for name in names}


def test_repr_shows_neither_headers_nor_body() -> None:
    request = Request("POST", "https://gw/x", {"apim-accesstoken": "secret"}, b"secret")
    assert repr(request) == "Request(method='POST', url='https://gw/x')"
    assert "secret" not in repr(Response(200, {}, b"secret"))


def test_frozen() -> None:
    request = Request("GET", "https://gw/x", {})
    with pytest.raises(FrozenInstanceError):
        request.url = "https://elsewhere"  # type: ignore[misc]
