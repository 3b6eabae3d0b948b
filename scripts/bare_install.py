"""Print what installing a wheel of this package adds to a bare Airflow; fail if that is more than it names.

python scripts/bare_install.py dist/airflow_provider_enos-*.whl        on each Airflow with pins in requirements/ python
scripts/bare_install.py dist/airflow_provider_enos-*.whl 3.3.2  on these

It names the dependencies in pyproject.toml, and what these need themselves. Nothing is installed: uv resolves it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import matrix

DISTRIBUTION = "airflow-provider-enos"


def main(arguments: Sequence[str]) -> int:
    """Print a line for each Airflow; return the exit code."""
    options = parser().parse_args(arguments)
    named = tomllib.loads((matrix.PROJECT / "pyproject.toml").read_text())["project"]["dependencies"]
    surprises = 0
    for airflow in options.airflow or filter(matrix.is_released, matrix.known()):
        bare = resolved(airflow, options.python)
        added = resolved(airflow, options.python, f"{DISTRIBUTION} @ {options.wheel.resolve().as_uri()}") - bare
        more = added - resolved(airflow, options.python, *named) - {DISTRIBUTION}
        surprises += len(more) + (DISTRIBUTION not in added)
        print(f"Airflow {airflow}: adds {' '.join(sorted(added))}")
        if more:
            print(f"Airflow {airflow}: pyproject.toml does not name {' '.join(sorted(more))}")
    return 1 if surprises else 0


def parser() -> argparse.ArgumentParser:
    what = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what.add_argument("wheel", type=Path)
    what.add_argument("airflow", nargs="*", help="versions of Airflow; default: all")
    what.add_argument("--python", default="3.11", help="a version or a path (default: 3.11)")
    return what


def resolved(airflow: str, python: str, *more: str) -> set[str]:
    """Return the names of all that comes with this Airflow and ``more``, in the pinned versions."""
    options = ["--no-header", "--no-annotate", "--constraint", str(matrix.pins_of(airflow)), "--python", python]
    process = subprocess.run(
        [*matrix.UV, "--quiet", "pip", "compile", *options, "-"],
        input="\n".join([f"apache-airflow=={airflow}", *more]),
        capture_output=True,
        text=True,
        check=False,
    )
    if process.returncode:
        sys.exit(process.stderr)
    return {line.split("==")[0].split(" @ ")[0] for line in process.stdout.splitlines() if not line.startswith("-")}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
