"""Show that this package can be installed beside each Airflow with the packages of that Airflow's release day.

Airflow's constraint file pins the newest packages of about that day, and people who install with it get nothing newer.
So Airflow alone is resolved as of that day, and then Airflow and the wheel, constrained to what came of the first: the
wheel may add packages, and may change none of Airflow's.

python scripts/resolve.py                  every Airflow that is supported
python scripts/resolve.py 2.11.0 3.3.2     these
python scripts/resolve.py --wheel dist/airflow_provider_enos-0.1.0-py3-none-any.whl --python 3.12

Nothing is installed. It needs a package index that says when each file was uploaded, as PyPI does.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from functools import partial
from pathlib import Path

import matrix

RELEASED = {
    "2.11.0": date(2025, 5, 20),
    # It came on the 16th, and could be installed five days later, with the FAB provider that it needs.
    "2.11.1": date(2026, 2, 21),
    "2.11.2": date(2026, 3, 14),
    "3.0.0": date(2025, 4, 22),
    "3.0.1": date(2025, 5, 12),
    "3.0.2": date(2025, 6, 10),
    "3.0.3": date(2025, 7, 14),
    "3.0.4": date(2025, 8, 8),
    "3.0.6": date(2025, 8, 29),
    "3.1.0": date(2025, 9, 25),
    "3.1.1": date(2025, 10, 27),
    "3.1.2": date(2025, 11, 5),
    "3.1.3": date(2025, 11, 14),
    "3.1.5": date(2025, 12, 12),
    "3.1.6": date(2026, 1, 13),
    "3.1.7": date(2026, 2, 4),
    "3.1.8": date(2026, 3, 11),
    "3.2.0": date(2026, 4, 7),
    "3.2.1": date(2026, 4, 22),
    "3.2.2": date(2026, 5, 29),
    "3.3.0": date(2026, 7, 6),
    "3.3.1": date(2026, 8, 12),
    "3.3.2": date(2026, 9, 17),
}
"""The day, in UTC, on which each Airflow that is supported came to PyPI. 3.0.5 and 3.1.4 were withdrawn."""


def main(arguments: Sequence[str]) -> int:
    """Print a line for each Airflow. Return the exit code."""
    options = parser().parse_args(arguments)
    # What `make matrix` may be given beside versions that were released.
    wanted = [
        airflow
        for airflow in options.airflow
        if airflow not in (matrix.LOWEST, matrix.NEWEST) and matrix.is_released(airflow)
    ]
    if unknown := [airflow for airflow in wanted if airflow not in RELEASED]:
        sys.exit(f"When was Airflow {', '.join(unknown)} released? Add it to RELEASED in scripts/resolve.py.")
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(4) as threads:
        wheel = options.wheel or matrix.build_wheel(Path(folder), options.python)
        failed = 0
        for line, could in threads.map(
            partial(tried, wheel=wheel, python=options.python), wanted if options.airflow else RELEASED
        ):
            print(line, flush=True)
            failed += not could
    return 1 if failed else 0


def parser() -> argparse.ArgumentParser:
    what = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what.add_argument("airflow", nargs="*", help="versions of Airflow; default: all that are supported")
    what.add_argument("--wheel", type=Path, help="default: it is built")
    what.add_argument("--python", default=matrix.PYTHONS[0], help=f"default: {matrix.PYTHONS[0]}")
    return what


def tried(airflow: str, *, wheel: Path, python: str) -> tuple[str, bool]:
    """Return a line on whether it can be installed beside this Airflow, and whether it can."""
    day = RELEASED[airflow]
    alone, problem = resolved(day, python, "", f"apache-airflow=={airflow}")
    if not problem:
        constraints = "\n".join(f"{name}=={version}" for name, version in alone.items())
        ours = f"airflow-provider-enos @ {wheel.resolve().as_uri()}"
        together, problem = resolved(day, python, constraints, f"apache-airflow=={airflow}", ours)
    if problem:
        return f"Airflow {airflow} of {day}: CANNOT BE INSTALLED\n{problem}", False
    added = [f"{name} {version}" for name, version in together.items() if name not in alone]
    return f"Airflow {airflow} of {day}: adds {', '.join(added) or 'nothing'}", True


def resolved(day: date, python: str, constraints: str, *wanted: str) -> tuple[dict[str, str], str]:
    """Return the versions of all that these come to with the packages of that day, or what is wrong."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(constraints)
        file.flush()
        options = ["--no-header", "--no-annotate", "--python-version", python, "--constraint", file.name]
        process = subprocess.run(
            [
                *matrix.UV,
                "--quiet",
                "pip",
                "compile",
                *options,
                "--exclude-newer",
                f"{day + timedelta(1)}T00:00:00Z",
                "-",
            ],
            input="\n".join(wanted),
            capture_output=True,
            text=True,
            check=False,
        )
    if process.returncode:
        return {}, process.stderr
    pins = (line.split("==") for line in process.stdout.splitlines() if "==" in line and not line.startswith("#"))
    return {name.strip(): version.split(";")[0].strip() for name, version in pins}, ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
