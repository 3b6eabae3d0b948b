"""The recipes of ``docs/recipes.md``, as they are printed there."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "recipes.md").read_text()
_BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)
MODULES = {match[1]: code for code in _BLOCKS if (match := re.match(r"# (plugins/\w+\.py)\n", code))}
"""The modules beside DAG files, by their paths in Airflow's home."""
RECIPES = {re.findall(r'DAG\(\s*"(\w+)"', code)[0]: code for code in _BLOCKS if not code.startswith("# plugins/")}
"""The DAG file of each recipe, by the id of its DAG."""


def write_modules(home: Path) -> None:
    """Put the modules into an Airflow home."""
    for path, code in MODULES.items():
        file = home / path
        file.parent.mkdir(exist_ok=True)
        file.write_text(code)
