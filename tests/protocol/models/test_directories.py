"""The tree of directories."""

from __future__ import annotations

from typing import Any

import pytest
from enos_documents import DIRECTORY, FOLDER_ID, ROOT_ID, but, snake

from airflow_provider_enos.errors import EnosReplyError
from airflow_provider_enos.protocol.models import Directory, directories_of

FILE: dict[str, Any] = DIRECTORY["children"][0]["children"][0]


def test_directories_as_documented() -> None:
    (root,) = directories_of([DIRECTORY])
    assert (root.key, root.title, root.is_directory, root.type, root.flow_id) == (ROOT_ID, "Workflow", True, 1, None)
    folder, empty = root.children
    assert (folder.key, folder.is_directory, folder.flow_id, folder.editable) == (FOLDER_ID, True, None, False)
    assert (empty.is_directory, empty.children) == (True, ())
    (file,) = folder.children
    assert (file.key, file.flow_id, file.title) == ("2512", 2512, "workflow1")
    assert (file.is_directory, file.editable, file.children) == (False, True, ())
    assert [one.title for one in root.walk()] == ["Workflow", "ffdir", "workflow1", "empty"]
    assert str(file) == "workflow1 (2512)"


@pytest.mark.parametrize(
    "data",
    [DIRECTORY, snake(DIRECTORY), [snake(DIRECTORY)], [but(DIRECTORY, isDirectory=...)], [but(DIRECTORY, type="1")]],
)
def test_directories_however_they_are_written(data: object) -> None:
    assert directories_of(data) == directories_of([DIRECTORY])


@pytest.mark.parametrize("file", [but(FILE, key="2512"), but(FILE, isDirectory=...), but(FILE, children=None)])
def test_file_however_it_is_written(file: object) -> None:
    assert Directory.parse(file) == Directory.parse(FILE)


@pytest.mark.parametrize("data", [[], "", None])
def test_no_directories(data: object) -> None:
    assert directories_of(data) == ()


def test_several_trees() -> None:
    assert [one.title for one in directories_of([DIRECTORY, FILE])] == ["Workflow", "workflow1"]


@pytest.mark.parametrize("children", [[], None, "", ...])
def test_directory_without_children(children: object) -> None:
    directory = Directory.parse(but(DIRECTORY, children=children))
    assert (directory.is_directory, directory.children) == (True, ())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (5, "directories: expected a list, got 5"),
        ([5], "directory: expected an object, got 5"),
        ([but(DIRECTORY, key=...)], "directory: key is missing"),
        ([but(FILE, key="x")], "directory: key: expected a whole number, got 'x'"),
        ([but(DIRECTORY, children=5)], "directory: children: expected a list, got 5"),
        ([but(DIRECTORY, children=[5])], "directory: expected an object, got 5"),
        ([but(DIRECTORY, isDirectory="maybe")], "directory: isDirectory: expected true or false, got 'maybe'"),
    ],
)
def test_directories_of_the_wrong_shape(data: object, message: str) -> None:
    with pytest.raises(EnosReplyError) as raised:
        directories_of(data)
    assert str(raised.value) == message


@pytest.mark.parametrize(("levels", "fine"), [(100, True), (101, False), (900, False)])
def test_a_tree_without_end(levels: int, fine: bool) -> None:
    """A deep nesting is refused before the stack overflows."""
    tree: dict[str, Any] = {"key": "leaf", "isDirectory": True}
    for level in range(levels - 1):
        tree = {"key": str(level), "isDirectory": True, "children": [tree]}
    if fine:
        assert len(list(Directory.parse(tree).walk())) == levels
    else:
        with pytest.raises(EnosReplyError, match="directory: children: expected at most 100 levels, got more"):
            directories_of([tree])
