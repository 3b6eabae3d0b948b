"""Run the tests against the built wheel on each supported Airflow, with every Python that it supports.

These are the Airflows that requirements/ has pins of; ``lowest``: the oldest of them with the oldest dependencies that
pyproject.toml allows; and ``newest``: the newest Airflow with the newest of all else. Print how each of them went.
An Airflow that is not released yet, such as 3.4.0b2, is tested only where it is named.

python scripts/matrix.py                                 all of them
python scripts/matrix.py 3.4.0b2                         the beta that requirements/ has pins of
python scripts/matrix.py 2.11.2 newest -- -k stack       these, with options for pytest
python scripts/matrix.py --python 3.11 --python 3.12     with these Pythons only
python scripts/matrix.py --renew                         new pins: the same Airflows, the newest of all else; those of
                                                         `make bench` and `make cluster-test`, too
python scripts/matrix.py --renew 3.3.3                   new pins for another Airflow of its minor, or for a new minor
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from packaging.version import Version

PROJECT = Path(__file__).resolve().parent.parent
PINS = PROJECT / "requirements"
ENVIRONMENTS = PROJECT / ".matrix"
PYTHONS = ("3.11", "3.12", "3.13")
LAST_PYTHON = {"2.11": "3.12", "3.0": "3.12"}
"""The last Python of an Airflow that does not support all of ``PYTHONS``."""
LOWEST, NEWEST = "lowest", "newest"
OTHERS = ("benchmark", "cluster")
"""The environments that requirements/ has pins of beside those of the matrix."""
UV = [sys.executable, "-m", "uv", "--no-progress"]


def main(arguments: Sequence[str]) -> int:
    """Renew the pins, or run the tests; return the exit code."""
    own = list(arguments)
    split = own.index("--") if "--" in own else len(own)
    options = parser().parse_args(own[:split])
    if options.renew:
        for airflow in options.airflow or known():
            renew(airflow)
        for other in () if options.airflow else OTHERS:
            renew_other(other)
        return 0
    every = [LOWEST, *filter(is_released, known()), NEWEST]
    unknown = set(options.airflow) - set(every) - set(known())
    if unknown:
        sys.exit(f"No pins for {', '.join(sorted(unknown))}, only for {', '.join(known())}: see --renew")
    results = [
        test(airflow, python, own[split + 1 :])
        for airflow in options.airflow or every
        for python in options.python or PYTHONS
        if supports(airflow, python)
    ]
    print("\n" + "\n".join(line for line, _ in results))
    return 0 if results and all(passed for _, passed in results) else 1


def parser() -> argparse.ArgumentParser:
    what = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what.add_argument("airflow", nargs="*", help=f"versions of Airflow, '{LOWEST}', '{NEWEST}'; default: all")
    what.add_argument(
        "--python",
        action="append",
        choices=PYTHONS,
        help="may be given more than once (default: each that is supported)",
    )
    what.add_argument("--renew", action="store_true", help="resolve the pins anew rather than run the tests")
    return what


def known() -> list[str]:
    """Return the versions of Airflow that requirements/ has pins of, oldest first."""
    found = (re.search(r"^apache-airflow==(.+)$", file.read_text(), re.M) for file in PINS.glob("airflow-*.txt"))
    versions = [match[1] for match in found if match]
    return sorted(versions, key=Version)


def is_released(airflow: str) -> bool:
    """Return whether this is a release rather than a beta or a release candidate."""
    return not Version(airflow).is_prerelease


def minor(airflow: str) -> str:
    return ".".join(airflow.split(".")[:2])


def supports(airflow: str, python: str) -> bool:
    """Return whether this Airflow runs with this Python."""
    return PYTHONS.index(python) <= PYTHONS.index(LAST_PYTHON.get(minor(pinned(airflow)), PYTHONS[-1]))


def pinned(airflow: str) -> str:
    """Return the Airflow whose pins it takes."""
    return known()[0] if airflow == LOWEST else airflow


def pins_of(airflow: str) -> Path:
    return PINS / f"airflow-{minor(airflow)}.txt"


def renew(airflow: str) -> None:
    """Pin the newest versions that go with this Airflow, within the bounds of its .in file."""
    pins = pins_of(airflow)
    wanted = pins.with_suffix(".in")
    bounds = wanted.read_text().splitlines()[1:] if wanted.exists() else []
    wanted.write_text("\n".join([f"apache-airflow=={airflow}", *bounds, ""]))
    resolve(pins, str(wanted), "pyproject.toml", "--extra", "test")
    print(f"{pins.relative_to(PROJECT)}: Airflow {airflow}")


def renew_other(name: str) -> None:
    """Pin the newest versions that go with what this environment's .in file names, and with this package."""
    pins = PINS / f"{name}.txt"
    resolve(pins, str(pins.with_suffix(".in")), "pyproject.toml")
    print(pins.relative_to(PROJECT))


def resolve(pins: Path, *wanted: str) -> None:
    """Write into ``pins`` the newest versions that satisfy ``wanted``, for every Python and machine.

    Of a package that is only named by others, uv takes no pre-release if there is a release that will do.
    """
    options = ["--upgrade", "--universal", "--python-version", PYTHONS[0], "--no-header", "--no-annotate"]
    command = [*UV, "--quiet", "pip", "compile", *options, "--output-file", str(pins), *wanted]
    subprocess.run(command, cwd=PROJECT, check=True, stdout=subprocess.DEVNULL)


def test(airflow: str, python: str, pytest_options: Sequence[str]) -> tuple[str, bool]:
    """Run the tests on this Airflow; return a line on how they went, and whether they passed."""
    name = f"Airflow {airflow}, Python {python}"
    print(f"\n{name}", flush=True)
    folder = ENVIRONMENTS / f"{airflow}-py{python}"
    try:
        install(folder, airflow, python)
    except subprocess.CalledProcessError as error:
        print(error, flush=True)
        return f"{name}: not installed, exit code {error.returncode}", False
    report = folder / "report.xml"
    report.unlink(missing_ok=True)
    process = subprocess.run(
        [folder / "bin" / "pytest", "-q", f"--junit-xml={report}", *pytest_options],
        cwd=PROJECT,
        # With PYTHONSAFEPATH, `python -m` in a test imports the wheel rather than this folder.
        env={**os.environ, "ENOS_TESTS_EXPECT_WHEEL": "1", "PYTHONSAFEPATH": "1"},
        check=False,
    )
    return f"{name}: {counts(report)}", process.returncode == 0


def install(folder: Path, airflow: str, python: str) -> None:
    """Make or update the environment: the pins and the wheel, and nothing else."""
    uv = [*UV, "--quiet"]
    interpreter = folder / "bin" / "python"
    if not interpreter.exists():
        subprocess.run([*uv, "venv", "--clear", "--python", found(python), folder], check=True)
    with tempfile.TemporaryDirectory() as dist:
        wheel = build_wheel(Path(dist), python)
        if airflow == NEWEST:
            wanted = ["--upgrade", "--reinstall-package", "airflow-provider-enos", f"{wheel}[test]"]
        else:
            subprocess.run([*uv, "pip", "sync", "--python", interpreter, pins_of(pinned(airflow))], check=True)
            wanted = ["--no-deps", "--reinstall", str(wheel), *(floors() if airflow == LOWEST else [])]
        subprocess.run([*uv, "pip", "install", "--python", interpreter, *wanted], check=True)


def build_wheel(folder: Path, python: str) -> Path:
    """Build the wheel of this package into an empty folder. Return its path."""
    command = [*UV, "--quiet", "build", "--wheel", "--python", found(python), "--out-dir", folder, PROJECT]
    subprocess.run(command, check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def found(python: str) -> str:
    """Return the Python of this version: pyenv's, which need not be on the path, or else the one that uv finds."""
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    patches = {path.parts[-3].removeprefix(f"{python}."): path for path in versions.glob(f"{python}.*/bin/python")}
    newest = max(filter(str.isdigit, patches), key=int, default="")
    return str(patches.get(newest, python))


def floors() -> list[str]:
    """Return each dependency but Airflow in the oldest version that pyproject.toml allows."""
    named = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["dependencies"]
    return [one.replace(">=", "==") for one in named if not one.startswith("apache-airflow>=")]


def counts(report: Path) -> str:
    """Return how many tests passed, failed and were skipped."""
    if not report.exists():
        return "0 passed, pytest did not come to an end"
    suite = next(iter(ElementTree.parse(report).getroot()))
    total, failures, errors, skipped = (int(suite.get(key, 0)) for key in ("tests", "failures", "errors", "skipped"))
    return f"{total - failures - errors - skipped} passed, {failures + errors} failed, {skipped} skipped"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
