"""How Sphinx makes the documentation: ``make docs``. Nothing here needs a network."""

import os
import tempfile

# The reference is taken from the docstrings, and importing Airflow makes it a home.
_home = tempfile.TemporaryDirectory(prefix="enos-docs-")
os.environ["AIRFLOW_HOME"] = _home.name

from airflow_provider_enos import __version__  # noqa: E402

project = "airflow-provider-enos"
author = "The airflow-provider-enos authors"
copyright = "the airflow-provider-enos authors"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["examples"]
nitpicky = True
# Of Airflow, Python and pytest: their documentation is elsewhere.
nitpick_ignore_regex = [
    ("py:exc", "Airflow.*|ValueError|RuntimeError|OSError|KeyError"),
    ("py:class", "airflow.*|collections.*|datetime.*|pytest.*|ssl.*|os.*|types.*"),
]

myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "none"
add_module_names = False
toc_object_entries = False

html_theme = "alabaster"
html_title = "airflow-provider-enos"
html_copy_source = False
html_theme_options = {
    "description": "EnOS Batch Processing for Apache Airflow",
    "fixed_sidebar": True,
    "page_width": "1100px",
    "sidebar_width": "250px",
}
