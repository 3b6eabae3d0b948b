"""JSON objects of EnOS as dataclasses: each field is declared once, and is read and written by this declaration.

::

    @dataclass(frozen=True, slots=True)
    class FlowLink(Document):
        _what = "flow link"
        link_id: Annotated[str, text("linkId")]
        source_flow_name: Annotated[str, text("sourceFlowName", "")]

``text("linkId")`` says that EnOS sends the field as ``linkId``, a text, and that it must be there. A second argument is
the default for a field that is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields as fields_of, replace
from typing import Any, ClassVar, Self, get_type_hints

from airflow_provider_enos.protocol.models.fields import Fields, parameters


@dataclass(frozen=True, slots=True)
class Wire:
    """How one field is read from a reply and written into a request.

    :param name: the name of the field in replies.
    :param read: returns the value of the field.
    :param write: returns what is written for a value; None leaves the field out.
    :param written_as: the name of the field in requests; None where requests do not have it.
    """

    name: str
    read: Callable[[Fields], Any]
    write: Callable[[Any], object]
    written_as: str | None


class Reply:
    """A dataclass that is read from a reply. Fields that are declared with a ``Wire`` are read by it."""

    __slots__ = ()
    _what: ClassVar[str]
    """What an error calls the object."""

    @classmethod
    def parse(cls, data: object) -> Self:
        """Return the object that ``data`` describes. Raises ``EnosReplyError``, naming the field that is wrong."""
        return cls._read(Fields(data, cls._what))

    @classmethod
    def _read(cls, fields: Fields, **given: Any) -> Self:
        """Return the object. Fields in ``given`` have these values and are not read."""
        wires = _wires(cls)
        read = {name: wire.read(fields) for name, wire in wires.items() if name not in given and wire is not OTHER}
        if OTHER in wires.values():
            known = [wire.name for wire in wires.values()]
            read |= {name: fields.others(known) for name, wire in wires.items() if wire is OTHER}
        return cls(**read, **given)


class Document(Reply):
    """A dataclass that is also written into a request."""

    __slots__ = ()
    _writes_none: ClassVar[bool] = False
    """Whether a field without a value is written as null. If not, it is left out."""

    def document(self) -> dict[str, object]:
        """Return the object as EnOS takes it."""
        document: dict[str, object] = {}
        for name, wire in _wires(type(self)).items():
            value = getattr(self, name)
            if wire is OTHER:
                document |= value
            elif wire.written_as is not None:
                written = wire.write(value)
                if written is not None or self._writes_none:
                    document[wire.written_as] = written
        return document


_known: dict[type, dict[str, Wire]] = {}


def _wires(cls: type[Any]) -> dict[str, Wire]:
    """Return how each declared field of the class is read and written."""
    if cls not in _known:
        hints = get_type_hints(cls, include_extras=True)
        declared = ((field.name, getattr(hints[field.name], "__metadata__", ())) for field in fields_of(cls))
        _known[cls] = {name: wires[0] for name, wires in declared if wires}
    return _known[cls]


def _unchanged(value: Any) -> object:
    return value


def _wire(
    name: str,
    read: Callable[[Fields], Any],
    write: Callable[[Any], object] = _unchanged,
    written_as: str | None = None,
) -> Wire:
    return Wire(name, read, write, written_as or name)


OTHER = _wire("", lambda fields: {})
"""Declares the field that keeps what is not documented, as it came."""


def text(name: str, *default: str | None, **written: Any) -> Wire:
    """Declare a text. A number in a reply counts as text."""
    return _wire(name, lambda fields: fields.text(name, *default), **written)


def number(name: str, *default: int | None, **written: Any) -> Wire:
    """Declare a whole number. Digits in a reply count as a number."""
    return _wire(name, lambda fields: fields.number(name, *default), **written)


def decimal(name: str, **written: Any) -> Wire:
    """Declare a number; None where it is missing."""
    return _wire(name, lambda fields: fields.decimal(name), **written)


def flag(name: str, **written: Any) -> Wire:
    """Declare a boolean; false where it is missing."""
    return _wire(name, lambda fields: fields.flag(name), **written)


def key_values(name: str, **written: Any) -> Wire:
    """Declare parameters: pairs of name and text."""
    return _wire(name, lambda fields: parameters(fields.decoded(name)), **written)


def custom(name: str, read: Callable[[Fields, str], Any], **written: Any) -> Wire:
    """Declare a field that ``read`` reads, given the object's fields and the name."""
    return _wire(name, lambda fields: read(fields, name), **written)


def several(name: str, of: type[Document]) -> Wire:
    """Declare a list of objects, as a tuple."""
    return _wire(
        name,
        lambda fields: tuple(of.parse(item) for item in fields.items(name)),
        lambda items: [item.document() for item in items],
    )


def reply_only(wire: Wire) -> Wire:
    """Declare that requests do not have the field."""
    return replace(wire, written_as=None)
