"""What is installed, what is published, and what is said of it."""

from __future__ import annotations

import importlib.metadata
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from datetime import date
from importlib.util import find_spec
from pathlib import Path

import pytest

import airflow_provider_enos

PROJECT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text())
METADATA = importlib.metadata.metadata("airflow-provider-enos")
STATIC = {
    *("view.html", "view.css", "view.js", "run.html", "run.js", "more.css"),
    *("around.js", "clock.js", "copy.js", "log.js", "page.js", "refresh.js"),
    *("task.js", "tries.js", "usual.js", "why.js"),
}
"""The files of the view's pages."""


@pytest.mark.skipif("ENOS_TESTS_EXPECT_WHEEL" not in os.environ, reason="only .ci/run tests the built wheel")
def test_it_is_the_wheel_that_is_tested() -> None:
    assert Path(airflow_provider_enos.__file__).is_relative_to(sys.prefix)
    files = {str(file) for file in importlib.metadata.files("airflow-provider-enos") or ()}
    assert "airflow_provider_enos/py.typed" in files
    assert {f"airflow_provider_enos/plugins/view/static/{name}" for name in STATIC} <= files
    assert any(file.endswith("licenses/LICENSE") for file in files)
    assert not [file for file in files if file.startswith(("tests", "benchmarks", "docs", "example_dags", "scripts"))]


def test_the_files_of_the_view_are_part_of_the_package() -> None:
    static = Path(airflow_provider_enos.__file__).parent / "plugins" / "view" / "static"
    assert {file.name for file in static.iterdir()} == STATIC


def test_the_version_is_written_in_one_place() -> None:
    """Everything else reads it there: pyproject.toml, the documentation, the User-Agent."""
    version = airflow_provider_enos.__version__
    assert METADATA["Version"] == version
    assert "version" in PYPROJECT["project"]["dynamic"]
    assert PYPROJECT["tool"]["hatch"]["version"]["path"] == "airflow_provider_enos/__init__.py"
    written = [
        str(path.relative_to(PROJECT))
        for path in [
            PROJECT / "pyproject.toml",
            *PROJECT.glob("*.md"),
            *files_of("airflow_provider_enos"),
            *files_of("docs"),
        ]
        if path.suffix in (".md", ".py", ".toml", ".css", ".js", ".html") and path.name != "CHANGELOG.md"
        if re.search(rf"(?<![\d.]){re.escape(version)}(?![\d.])", path.read_text())
    ]
    assert written == ["airflow_provider_enos/__init__.py"]


def test_installing_it_brings_what_the_design_names_and_nothing_else() -> None:
    requirements = importlib.metadata.requires("airflow-provider-enos") or []
    names = {re.split(r"[^A-Za-z0-9-]", text)[0] for text in requirements if "extra ==" not in text}
    assert names == {"apache-airflow", "aiohttp", "requests"}


def test_the_metadata_says_what_it_is() -> None:
    classifiers = METADATA.get_all("Classifier") or []
    assert "Framework :: Apache Airflow :: Provider" in classifiers
    assert "Typing :: Typed" in classifiers
    assert METADATA["License-Expression"] == "Apache-2.0"
    assert METADATA["Requires-Python"] == ">=3.11"


# ---- the changelog --------------------------------------------------------------------------------------------------

CHANGELOG = (PROJECT / "CHANGELOG.md").read_text()
KINDS = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]


def releases(text: str) -> dict[str, str]:
    """The parts of a changelog, by their headings, in order. Raises ``AssertionError`` for another form."""
    title, *parts = re.split(r"^## ", text, flags=re.M)
    assert title.startswith("# Changelog\n")
    assert "keepachangelog.com" in title
    found = dict(part.split("\n", 1) for part in parts)
    assert len(found) == len(parts) > 0
    for number, (heading, part) in enumerate(found.items()):
        if heading == "[Unreleased]":
            assert number == 0
        else:
            match = re.fullmatch(r"\[(\d+\.\d+\.\d+)\] - (\d{4}-\d{2}-\d{2})( \[YANKED\])?", heading)
            assert match, heading
            date.fromisoformat(match[2])
        nothing, *kinds = re.split(r"^### ", part, flags=re.M)
        assert not nothing.strip()
        headings = [kind.split("\n", 1)[0] for kind in kinds]
        assert headings == [kind for kind in KINDS if kind in headings], headings
        for kind in kinds:
            lines = kind.split("\n", 1)[1].strip().splitlines()
            assert lines, f"nothing below {kind}"
            assert all(re.match(r"- \S|  \S", line) for line in lines), lines
            assert lines[0].startswith("- ")
    return found


def versions_of(found: dict[str, str]) -> list[tuple[tuple[int, ...], str]]:
    """Version and day of what is released."""
    matches = [re.fullmatch(r"\[([\d.]+)\] - (\S+).*", heading) for heading in found]
    return [(tuple(map(int, match[1].split("."))), match[2]) for match in matches if match]


def test_the_changelog_keeps_its_form() -> None:
    """The form of Keep a Changelog: the newest version and day come first, and the newest is this version."""
    found = releases(CHANGELOG)
    released = versions_of(found)
    assert released == sorted(released, reverse=True)
    assert [day for _, day in released] == sorted((day for _, day in released), reverse=True)
    if "[Unreleased]" in found:
        assert found["[Unreleased]"].strip(), "an empty part says nothing"
    else:
        assert ".".join(map(str, released[0][0])) == airflow_provider_enos.__version__


@pytest.mark.parametrize(
    "broken",
    [
        ("## [Unreleased]", "## Unreleased"),
        ("## [Unreleased]", "## [0.2.0]"),
        ("## [Unreleased]", "## [0.2.0] - 2026-02-30"),
        ("### Added", "### New"),
        ("### Added\n", "### Added\n\n### Added\n"),
        ("### Added", "### Fixed\n\n- a\n\n### Added"),
        ("\n- ", "\n* "),
        ("keepachangelog", "example"),
    ],
    ids=str,
)
def test_a_changelog_of_another_form_is_noticed(broken: tuple[str, str]) -> None:
    assert broken[0] in CHANGELOG
    with pytest.raises((AssertionError, ValueError)):
        releases(CHANGELOG.replace(*broken))


# ---- wheel and sdist ------------------------------------------------------------------------------------------------

needs_hatchling = pytest.mark.skipif(not find_spec("hatchling"), reason="hatchling comes with the extra dev")
IN_SDIST = {
    ".ci", ".gitignore", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "PKG-INFO", "README.md",
    "airflow_provider_enos", "benchmarks", "docs", "example_dags", "pyproject.toml", "requirements", "scripts", "tests",
}  # fmt: skip
MADE = {"__pycache__", ".venv", ".git", "build", "dist", ".pytest_cache", ".hypothesis", ".mypy_cache", ".ruff_cache"}


def files_of(folder: str) -> list[Path]:
    """What is in a folder of the project, but for what tools have left there."""
    found = (PROJECT / folder).rglob("*")
    return sorted(path for path in found if path.is_file() and not MADE.intersection(path.parts))


def built(source: Path, out: Path, **environment: str) -> dict[str, bytes]:
    """Wheel and sdist of a folder, as they are made anywhere."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-t", "wheel", "-d", str(out)],
        cwd=source,
        env={**os.environ, **environment},
        check=True,
        capture_output=True,
    )
    return {"".join(path.suffixes[-1:]): path.read_bytes() for path in out.iterdir()}


def copy_of_the_project(folder: Path) -> Path:
    shutil.copytree(
        PROJECT, folder, ignore=shutil.ignore_patterns(*MADE, ".matrix", ".demo", ".git", "*.pyc"), symlinks=True
    )
    return folder


@pytest.fixture(scope="session")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Wheel (``.whl``) and sdist (``.gz``) of this project."""
    source = copy_of_the_project(tmp_path_factory.mktemp("source") / "one")
    return built(source, source.parent / "out", SOURCE_DATE_EPOCH="1700000000", PYTHONHASHSEED="1")


@pytest.fixture(scope="session")
def sdist(distributions: dict[str, bytes]) -> tarfile.TarFile:
    return tarfile.open(fileobj=io.BytesIO(distributions[".gz"]))


@needs_hatchling
def test_they_are_the_same_bytes_wherever_and_whenever_they_are_built(
    distributions: dict[str, bytes], tmp_path: Path
) -> None:
    """From another folder, and files with other times, permissions and order, with another seed."""
    source = copy_of_the_project(tmp_path / "two" / "deeper")
    for path in sorted(source.rglob("*"), reverse=True):
        os.utime(path, (1_234_567_890, 1_234_567_890))
        if path.is_file():
            path.chmod(0o600 | (path.stat().st_mode & 0o100))
    again = built(source, tmp_path / "out", SOURCE_DATE_EPOCH="1700000000", PYTHONHASHSEED="2")
    assert again.keys() == {".whl", ".gz"}
    assert again == distributions
    later = built(source, tmp_path / "later", SOURCE_DATE_EPOCH="1800000000")
    assert later[".whl"] != distributions[".whl"], "the time is that of SOURCE_DATE_EPOCH"


@needs_hatchling
def test_the_sdist_makes_the_same_wheel(
    distributions: dict[str, bytes], sdist: tarfile.TarFile, tmp_path: Path
) -> None:
    sdist.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    assert built(source, tmp_path / "out", SOURCE_DATE_EPOCH="1700000000")[".whl"] == distributions[".whl"]


@needs_hatchling
def test_the_wheel_has_the_package_and_nothing_else(distributions: dict[str, bytes]) -> None:
    names = zipfile.ZipFile(io.BytesIO(distributions[".whl"])).namelist()
    info = f"airflow_provider_enos-{airflow_provider_enos.__version__}.dist-info"
    package = {path.relative_to(PROJECT).as_posix() for path in files_of("airflow_provider_enos")}
    metadata = {f"{info}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")}
    assert set(names) == package | metadata
    assert len(names) == len(set(names))
    assert "airflow_provider_enos/py.typed" in names


@needs_hatchling
def test_the_sdist_has_what_it_takes_to_build_and_test(sdist: tarfile.TarFile) -> None:
    """And nothing that a tool or a person has left lying about."""
    root = f"airflow_provider_enos-{airflow_provider_enos.__version__}"
    members = sdist.getmembers()
    names = {member.name.removeprefix(f"{root}/") for member in members}
    assert all(member.isfile() and member.name.startswith(f"{root}/") for member in members)
    assert {name.split("/")[0] for name in names} == IN_SDIST
    for folder in ("airflow_provider_enos", "tests", "docs", "example_dags", "scripts", "requirements"):
        expected = {path.relative_to(PROJECT).as_posix() for path in files_of(folder)}
        assert {name for name in names if name.startswith(f"{folder}/")} == expected
    assert all((member.uid, member.gid, member.uname, member.gname) == (0, 0, "", "") for member in members)


@pytest.mark.skipif(not find_spec("twine"), reason="twine comes with the extra dev")
@needs_hatchling
def test_pypi_can_show_them(distributions: dict[str, bytes], tmp_path: Path) -> None:
    version = airflow_provider_enos.__version__
    for ending, name in ((".whl", f"-{version}-py3-none-any.whl"), (".gz", f"-{version}.tar.gz")):
        (tmp_path / f"airflow_provider_enos{name}").write_bytes(distributions[ending])
    command = [sys.executable, "-m", "twine", "--no-color", "check", "--strict", *sorted(map(str, tmp_path.iterdir()))]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (process.returncode, process.stdout.count("PASSED")) == (0, 2), process.stdout


# ---- what README and CONTRIBUTING say --------------------------------------------------------------------------------


def releases_with_pins() -> list[str]:
    """The Airflows that requirements/ has pins of, without betas and release candidates."""
    pins = (path.read_text() for path in (PROJECT / "requirements").glob("airflow-*.in"))
    versions = [re.findall(r"^apache-airflow==(\S+)", text, re.M)[0] for text in pins]
    return [version for version in versions if re.fullmatch(r"[\d.]+", version)]


def test_what_is_supported_is_said_once_and_so_everywhere() -> None:
    """The line below README's title, the classifiers, the pins and the dependency have the same versions.

    An Airflow that is not released yet has pins, and is not said to be supported.
    """
    (line,) = re.findall(r"^Airflow .*Python .*", (PROJECT / "README.md").read_text(), re.M)
    airflows, pythons, licence, typed = line.split(" · ")
    pinned = sorted(
        (version.rpartition(".")[0] for version in releases_with_pins()),
        key=lambda version: tuple(map(int, version.split("."))),
    )
    assert re.findall(r"\d+\.\d+", airflows) == pinned
    assert f"apache-airflow>={pinned[0]}.0" in PYPROJECT["project"]["dependencies"]
    classifiers = METADATA.get_all("Classifier") or []
    named = re.findall(r"Python :: (3\.\d+)", "\n".join(classifiers))
    assert re.findall(r"\d+\.\d+", pythons) == named
    assert METADATA["Requires-Python"] == f">={named[0]}"
    assert licence == METADATA["License-Expression"]
    assert typed == "typed"
    assert (PROJECT / "airflow_provider_enos" / "py.typed").exists()


def test_each_airflow_with_pins_has_its_release_day() -> None:
    """`make resolve` installs this package beside each Airflow as of that day."""
    released = re.findall(r'^    "([\d.]+)": date\(', (PROJECT / "scripts" / "resolve.py").read_text(), re.M)
    assert set(releases_with_pins()) <= set(released)


def test_no_picture_is_fetched_from_another_host() -> None:
    for path in PROJECT.glob("*.md"):
        assert not re.findall(r"!\[.*?\]\(https?:|<img[^>]+https?:", path.read_text())


def test_what_contributing_tells_you_to_type_is_there() -> None:
    text = (PROJECT / "CONTRIBUTING.md").read_text()
    targets = set(re.findall(r"^([\w-]+):", (PROJECT / "Makefile").read_text(), re.M))
    asked = set(re.findall(r"\bmake ([a-z-]+)", text))
    assert {"test", "check", "matrix", "build"} <= asked <= targets
    for path in re.findall(r"`((?:tests|docs|scripts|airflow_provider_enos|requirements)/[\w./-]*)`", text):
        assert (PROJECT / path).exists(), path


def test_every_variable_of_the_makefile_has_a_value() -> None:
    """Where a default is missing, what it stands for comes to nothing, and the target fails or does less."""
    targets = " ".join(re.findall(r"^\.PHONY: (.+)$", (PROJECT / "Makefile").read_text(), re.M)).split()
    command = ["make", "--warn-undefined-variables", "--dry-run", *targets]
    printed = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    assert "undefined variable" not in printed.stderr
