"""What Airflow discovers of this provider. It imports nothing: every Airflow component calls it."""

from __future__ import annotations

from typing import Any

CONNECTION_FIELDS: dict[str, dict[str, Any]] = {
    "org_id": {
        "label": "Organization ID",
        "description": "EnOS > IAM > Organization Profile, such as o15504722874071",
        "schema": {"type": ["string", "null"]},
    },
    "user_id": {
        "label": "User ID",
        "description": "EnOS > your profile, such as u15426865866571; it must own the flows that it triggers",
        "schema": {"type": ["string", "null"]},
    },
    "verify": {
        "label": "TLS verification",
        "description": "true (default), false, or the path of a CA file or directory",
        "schema": {"type": ["string", "null"], "examples": ["true", "false"]},
    },
    "timeout": {
        "label": "Timeout",
        "description": "Seconds to wait for a reply; 65 if empty",
        "schema": {"type": ["number", "null"], "minimum": 0.001, "maximum": 3600},
    },
    "allow_http": {
        "label": "Allow plain http",
        "description": "Only for gateways without TLS, such as EnOS Edge",
        # Without null, Airflow marks the field as required.
        "schema": {"type": ["boolean", "null"], "default": False},
    },
    "console_url": {
        "label": "Console link",
        "description": "Address of a flow instance in your EnOS console, with {flow_instance_id} or {flow_id} in it",
        "schema": {"type": ["string", "null"]},
    },
}
"""The fields that the connection keeps in ``extra``, as the form shows them."""

FIELD_BEHAVIOUR: dict[str, Any] = {
    "hidden-fields": [],
    "relabeling": {
        "host": "Gateway",
        "schema": "Scheme",
        "port": "Port",
        "login": "Access Key",
        "password": "Secret Key",
    },
    "placeholders": {
        "host": "apim.example.com (EnOS > Help > Environment Information > API Gateway)",
        "schema": "https",
        "port": "443",
        "login": "of an application (EnOS > Application Registration)",
        "password": "of the same application",
    },
}
"""How the form shows the fields that every connection has."""


def get_provider_info() -> dict[str, Any]:
    """Return the dictionary behind the entry point ``apache_airflow_provider``."""
    name = "EnOS"
    return {
        "package-name": "airflow-provider-enos",
        "name": name,
        "description": "Start and follow workflows of the EnOS Batch Processing Service.",
        "integrations": [
            {
                "integration-name": name,
                "external-doc-url": "https://support.enos-iot.com/docs/batch-processing-api/en/2.3.0/",
                "tags": ["service"],
            }
        ],
        "connection-types": [
            {
                "connection-type": "enos",
                "hook-class-name": "airflow_provider_enos.hooks.enos.EnosHook",
                "hook-name": name,
                "conn-fields": CONNECTION_FIELDS,
                "ui-field-behaviour": FIELD_BEHAVIOUR,
            }
        ],
        "hooks": [{"integration-name": name, "python-modules": ["airflow_provider_enos.hooks.enos"]}],
        "operators": [{"integration-name": name, "python-modules": ["airflow_provider_enos.operators.enos"]}],
        "triggers": [{"integration-name": name, "python-modules": ["airflow_provider_enos.triggers.enos"]}],
        "extra-links": ["airflow_provider_enos.links.enos.EnosFlowInstanceLink"],
        # Airflow 3.2 and later add these commands to their own; earlier ones pass the entry over.
        "cli": ["airflow_provider_enos.cli.definition.get_enos_cli_commands"],
        "sensors": [{"integration-name": name, "python-modules": ["airflow_provider_enos.sensors.enos"]}],
    }
