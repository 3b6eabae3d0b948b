"""Check the arguments of operators and sensors when the DAG is parsed, the arguments of mapped tasks included."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar, cast

from airflow_provider_enos.errors import EnosConfigError
from airflow_provider_enos.protocol import arguments
from airflow_provider_enos.utils.templates import is_rendered_later, known_part, marks_of
from airflow_provider_enos.version_compat import AirflowFailException

TENANT_FIELDS = ("enos_conn_id", "org_id", "user_id")
"""Template fields of every operator and sensor: the connection, and the EnOS organisation and user."""
_OURS = "airflow_provider_enos."


class EnosArgumentError(EnosConfigError, AirflowFailException):
    """An argument of a task cannot work. The message names the task, too.

    When the DAG is parsed, it is an import error. If a mapped task gets the value only when it runs, the task fails
    without a retry.
    """

    def __init__(self, task_id: object, error: EnosConfigError) -> None:
        Exception.__init__(self, f"task {task_id}: {error}")
        self.field = error.field


class Argument:
    """How an argument is checked.

    :param check: takes the value and the argument's name; returns the value to go on with, or raises
        ``EnosConfigError``.
    :param templated: whether it is a template field. Then the value stays as the author wrote it, and a template, or
        another task's output, is not checked until the task runs.
    """

    # No dataclass: making one takes longer than the rest of this module, wherever a DAG is parsed.
    __slots__ = ("check", "templated")

    def __init__(self, check: Callable[[Any, str], Any], templated: bool = False) -> None:
        self.check = check
        self.templated = templated

    def checked(self, value: Any, name: str, marks: Collection[str]) -> Any:
        """Return the value to go on with. Raises ``EnosConfigError``."""
        if not self.templated:
            return self.check(value, name)
        if not is_rendered_later(value, marks):
            self.check(known_part(value, marks), name)
        # Airflow renders the values of a dict, and of no other mapping.
        return dict(value) if isinstance(value, Mapping) else value


def one_of(options: object) -> Callable[[Any, str], Any]:
    """Return a check for one of ``options``, a ``Literal``."""
    return partial(arguments.choice, options=options)


FLOW_FIELDS = ("flow_id", "flow_name")
"""Template fields of what is about one flow: exactly one of the two is given."""
FLOW_ARGUMENTS: Mapping[str, Argument] = {
    "flow_id": Argument(arguments.number_or_none, templated=True),
    "flow_name": Argument(arguments.label_or_none, templated=True),
}
TENANT_ARGUMENTS: Mapping[str, Argument] = {
    "enos_conn_id": Argument(arguments.connection_id, templated=True),
    "org_id": Argument(arguments.tenant, templated=True),
    "user_id": Argument(arguments.tenant, templated=True),
}
WAITING_ARGUMENTS: Mapping[str, Argument] = {
    "wait_for_completion": Argument(arguments.flag),
    "deferrable": Argument(arguments.flag_or_none),
    "poll_interval": Argument(arguments.seconds),
    "timeout": Argument(arguments.seconds),
    "poll_error_tolerance": Argument(partial(arguments.seconds, zero=True)),
}


class _Partial:
    """Airflow's ``partial``, a method of the class, with its arguments checked."""

    def __get__(self, task: Any, cls: Any) -> Callable[..., Any]:
        if task is not None:
            # Airflow's own, which raises an error for a task.
            return cast("Callable[..., Any]", super(ArgumentChecks, task).partial)  # type: ignore[misc]
        make = super(ArgumentChecks, cls).partial  # type: ignore[misc]
        return lambda **kwargs: _CheckedPartial(cls, make(**kwargs))


class ArgumentChecks:
    """Mix into operators and sensors: check arguments, in the constructor and in ``partial().expand()``."""

    partial: Any = _Partial()
    _enos_arguments: ClassVar[Mapping[str, Argument]] = TENANT_ARGUMENTS
    _ids_and_names: ClassVar[Sequence[tuple[str, str]]] = ()
    """Pairs of arguments of which exactly one is given."""

    def _checked(self, **given: Any) -> dict[str, Any]:
        """Return these arguments as they are to be used. Raises ``EnosArgumentError``."""
        dag: Any = self.get_dag()  # type: ignore[attr-defined]
        marks = marks_of(dag)
        with self._naming_task():
            return {name: self._enos_arguments[name].checked(value, name, marks) for name, value in given.items()}

    def _set(self, **given: Any) -> None:
        """Check these arguments, and set each as an attribute."""
        for name, value in self._checked(**given).items():
            setattr(self, name, value)

    def _set_one(self, **given: Any) -> None:
        """Set an id and a name of the same thing. Raises ``EnosArgumentError`` unless exactly one of them is given."""
        self._set(**given)
        with self._naming_task():
            arguments.one_of_two({name: known_part(value) for name, value in given.items()})

    def _naming_task(self) -> Any:
        return _naming(self.task_id)  # type: ignore[attr-defined]

    @classmethod
    def _check_together(cls, given: Mapping[str, Any], unknown: Set[str]) -> None:
        """Check arguments that depend on each other. Raises ``EnosConfigError``.

        :param given: the arguments that all instances of a mapped task share.
        :param unknown: the names of the arguments that differ from instance to instance.
        """


class _CheckedPartial:
    """Airflow's ``OperatorPartial``, with the arguments checked that it is expanded with."""

    def __init__(self, operator_class: type[ArgumentChecks], inner: Any) -> None:
        self._operator_class = operator_class
        self._inner = inner
        self._marks = marks_of(inner.kwargs.get("dag"))
        with self._checking():
            inner.kwargs.update(self._ours(inner.kwargs))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def expand(self, **mapped: Any) -> Any:
        """Return the mapped task. Raises ``EnosArgumentError`` for a value that cannot work."""
        with self._checking():
            checked = {name: self._each(name, values) for name, values in mapped.items()}
            self._check_rest(mapped)
        return self._inner.expand(**checked)

    def expand_kwargs(self, kwargs: Any, *, strict: bool = True) -> Any:
        """Return the mapped task. Raises ``EnosArgumentError`` for a value that cannot work."""
        with self._checking():
            if isinstance(kwargs, Sequence) and not isinstance(kwargs, str):
                given = kwargs
                kwargs = [{**one, **self._ours(one)} if isinstance(one, Mapping) else one for one in given]
                for one in given:
                    self._check_rest(one if isinstance(one, Mapping) else {})
        return self._inner.expand_kwargs(kwargs, strict=strict)

    @contextmanager
    def _checking(self) -> Iterator[None]:
        try:
            with _naming(self._inner.kwargs.get("task_id")):
                yield
        except EnosArgumentError:
            # Otherwise Airflow also warns that the task was never mapped.
            if hasattr(self._inner, "_expand_called"):
                self._inner._expand_called = True
            raise

    def _check_rest(self, mapped: Mapping[str, Any]) -> None:
        """Check default arguments, which Airflow adds only later, and arguments that depend on each other."""
        kwargs = self._inner.kwargs
        defaults: dict[str, Any] = {}
        for owner in (kwargs.get("dag"), kwargs.get("task_group")):
            defaults |= getattr(owner, "default_args", None) or {}
        rest = {name: value for name, value in defaults.items() if name not in kwargs and name not in mapped}
        given = {**kwargs, **self._ours(rest)}
        for pair in self._operator_class._ids_and_names if self._has_our_constructor else ():
            arguments.one_of_two({name: _given({**given, **mapped}.get(name)) for name in pair})
        self._operator_class._check_together(given, mapped.keys())

    @property
    def _has_our_constructor(self) -> bool:
        """Whether the arguments are ours: the constructor of a user's subclass may add some itself."""
        first = next(one for one in self._operator_class.__mro__ if "__init__" in vars(one))
        return first.__module__.startswith(_OURS)

    def _each(self, name: str, values: Any) -> Any:
        """Return the values to expand over, each checked. Another task's output is returned as it is."""
        argument = self._argument(name)
        if argument is None:
            return values
        if isinstance(values, (list, tuple)):
            return [argument.checked(value, name, self._marks) for value in values]
        for item in values.items() if isinstance(values, dict) else ():
            argument.checked(item, name, self._marks)
        return values

    def _ours(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments that this package defines, checked."""
        ours = {name: argument for name in given if (argument := self._argument(name)) is not None}
        return {name: argument.checked(given[name], name, self._marks) for name, argument in ours.items()}

    def _argument(self, name: str) -> Argument | None:
        """Return how an argument is checked; None for Airflow's own, and for one that a user's subclass redefines."""
        for one in self._operator_class.__mro__:
            init = vars(one).get("__init__")
            if init is not None and name in inspect.signature(init).parameters:
                is_ours = one.__module__.startswith(_OURS)
                return self._operator_class._enos_arguments.get(name) if is_ours else None
        return None


def _given(value: Any) -> Any:
    """Return ``value``, or None if it is not given: a task has nothing where the list to expand over has None."""
    if isinstance(value, (list, tuple)) and any(known_part(one) is None for one in value):
        return None
    return known_part(value)


@contextmanager
def _naming(task_id: object) -> Iterator[None]:
    """Add the name of the task to errors."""
    try:
        yield
    except EnosArgumentError:
        raise
    except EnosConfigError as error:
        raise EnosArgumentError(task_id, error) from None
