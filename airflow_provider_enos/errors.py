"""Everything this package raises.

::

    EnosError
    ├── EnosConfigError (ValueError)     the connection or an argument cannot work        final
    ├── EnosTransportError               no reply; ``sent`` tells whether it may have arrived
    │   └── EnosSetupError               a CA file or a proxy's address on this machine cannot be used
    ├── EnosReplyError                   a reply, but not one that EnOS documents
    ├── EnosApiError                     EnOS or its gateway refused; code, message, request id
    │   ├── EnosAuthError                access key, secret key, signature or clock        final
    │   │   └── EnosTokenError           the access token is not valid any more (renewed by itself)
    │   ├── EnosAccessError              user, organisation, privilege, lock, address      final
    │   ├── EnosRequestError             what was asked for does not exist or is malformed
    │   │   └── EnosNotFoundError        the instance, node or flow is not there
    │   ├── EnosRateLimitError           over the API's quota; ``retry_after``
    │   └── EnosServerError              a fault on the other side
    ├── EnosTriggerError                 the flow was not started
    │   ├── EnosTriggerTargetError       the flow or the task node does not exist          final
    │   ├── EnosTriggerConflictError     the minute is taken
    │   └── EnosTriggerUncertainError    it may have been started; the next try looks first
    ├── EnosFlowError                    the instance ended, but not well
    │   ├── EnosFlowFailedError
    │   ├── EnosFlowCancelledError
    │   └── EnosFlowTimeoutError         it did not end in time
    ├── EnosCancelError                  not cancelled: it had ended by itself             final
    ├── EnosPollLostError                the instance could not be asked for too long; it runs on
    └── EnosEventError                   a deferred task was resumed with an event that is not its trigger's

"final": trying again cannot help, so operators and sensors raise ``AirflowFailException`` from it and Airflow
does not retry. The constructors of operators and sensors raise an ``EnosConfigError`` that is one itself:
``utils.task_arguments.EnosArgumentError``. Once there is an instance to wait for, a wait tolerates errors of keys,
rights and connection for ``poll_error_tolerance`` like any other, and what is raised then may be retried. Messages and
attributes never hold the secret key or a token.
"""

from __future__ import annotations

from typing import Any, ClassVar


class EnosError(Exception):
    """Root of all errors of this package."""

    final: ClassVar[bool] = False
    """Whether trying again cannot help."""
    sent: bool = True
    """False where the operation surely never reached EnOS, so that nothing can have come of it."""
    repeated: bool = False
    """Whether it was sent again after a refusal that may hide that an earlier copy of it was carried out."""

    def __reduce__(self) -> tuple[Any, ...]:
        # The default would call the class with the message alone.
        return _restore, (type(self), self.args, self.__dict__)


def to_json(error: EnosError) -> dict[str, Any]:
    """``error`` as scalars, for a trigger's event. ``from_json`` makes the same of it again."""
    attributes = {name: list(value) if isinstance(value, tuple) else value for name, value in vars(error).items()}
    return {"class": type(error).__name__, "message": str(error), "attributes": attributes}


def from_json(data: object) -> EnosError:
    """The error that ``to_json`` was given. Raises ``EnosEventError`` for anything else."""
    if isinstance(data, dict):
        cls, message, attributes = globals().get(str(data.get("class"))), data.get("message"), data.get("attributes")
        if isinstance(cls, type) and issubclass(cls, EnosError) and isinstance(message, str):
            attributes = attributes if isinstance(attributes, dict) else {}
            restored = {name: tuple(value) if isinstance(value, list) else value for name, value in attributes.items()}
            return _restore(cls, (message,), restored)
    raise EnosEventError(f"the trigger's event holds no error of this package: {repr(data)[:200]}")


def _restore(cls: type[EnosError], args: tuple[object, ...], attributes: dict[str, object]) -> EnosError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(attributes)
    return error


class EnosConfigError(EnosError, ValueError):
    """The connection or an argument cannot work: the message names the field, its value and what would do."""

    final = True

    def __init__(self, field: str, problem: str, *, accepted: str) -> None:
        super().__init__(f"{field}: {problem}; expected {accepted}")
        self.field = field


class EnosTransportError(EnosError):
    """No reply came. ``tls``: since the gateway could not prove who it is."""

    def __init__(self, message: str, *, sent: bool, tls: bool = False) -> None:
        super().__init__(message)
        self.sent = sent
        self.tls = tls


class EnosSetupError(EnosTransportError):
    """A CA file or a proxy's address on this machine cannot be used, so nothing was sent.

    ``setting`` is the connection's field or the environment variable to look at. Not final: a mounted file may come
    back, and another worker may have it right. Not repeated within a call, for it would take longer than a pause.
    """

    def __init__(self, message: str, *, setting: str, tls: bool = False) -> None:
        super().__init__(message, sent=False, tls=tls)
        self.setting = setting


class EnosReplyError(EnosError):
    """A reply came that is none of those that EnOS documents."""

    def __init__(self, message: str, *, http_status: int | None = None) -> None:
        super().__init__(message)
        self.http_status = http_status


class EnosApiError(EnosError):
    """EnOS or its gateway answered that it will not.

    ``code`` is the code of the envelope (or the HTTP status where there is no envelope), ``api_message`` its
    text, ``request_id`` what EnOS support asks for.
    """

    def __init__(
        self,
        code: int,
        api_message: str,
        *,
        operation: str,
        http_status: int,
        request_id: str | None = None,
        hint: str | None = None,
    ) -> None:
        text = f"{operation}: {code} {api_message}".rstrip()
        if hint:
            text += f" ({hint})"
        if request_id:
            text += f" [request {request_id}]"
        super().__init__(text)
        self.code = code
        self.api_message = api_message
        self.operation = operation
        self.http_status = http_status
        self.request_id = request_id


class EnosAuthError(EnosApiError):
    """Access key, secret key, signature or clock were not accepted."""

    final = True


class EnosTokenError(EnosAuthError):
    """The access token is not valid any more. The exchange renews it once by itself before this surfaces."""

    final = False


class EnosAccessError(EnosApiError):
    """User, organisation, privilege, lock or the caller's address stand in the way."""

    final = True


class EnosRequestError(EnosApiError):
    """What was asked for is malformed, does not exist or is against a rule of EnOS."""


class EnosNotFoundError(EnosRequestError):
    """What was asked for is not there."""


class EnosRateLimitError(EnosApiError):
    """Over the API's quota. ``retry_after`` is what the gateway asked for, in seconds, or None."""

    retry_after: float | None = None


class EnosServerError(EnosApiError):
    """A fault on the other side; whether the request was carried out is not known."""


class EnosTriggerError(EnosError):
    """The flow was not started, or not surely."""


class EnosTriggerTargetError(EnosTriggerError):
    """The flow or the task node does not exist."""

    final = True


class EnosTriggerConflictError(EnosTriggerError):
    """The flow already has an instance for this minute."""


class EnosTriggerUncertainError(EnosTriggerError):
    """The reply to a trigger was lost and no instance can be seen: it may or may not have been started.

    ``flow_instance_id`` is the id that it would have. A retry of the task looks for it before it sends anything.
    """

    def __init__(self, message: str, *, flow_instance_id: str) -> None:
        super().__init__(message)
        self.flow_instance_id = flow_instance_id


class EnosFlowError(EnosError):
    """A flow instance did not end well. ``status`` is EnOS's name for how it stands."""

    def __init__(
        self,
        message: str,
        *,
        flow_instance_id: str,
        status: str,
        failed_tasks: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message)
        self.flow_instance_id = flow_instance_id
        self.status = status
        self.failed_tasks = failed_tasks


class EnosFlowFailedError(EnosFlowError):
    """The instance failed, timed out in EnOS, or hit an internal error."""


class EnosFlowCancelledError(EnosFlowError):
    """The instance was cancelled."""


class EnosFlowTimeoutError(EnosFlowError):
    """The instance had not ended when the time given to it was over."""


class EnosCancelError(EnosError):
    """An instance was to be cancelled, and had ended by itself. ``status`` is EnOS's name for how it stands."""

    final = True

    def __init__(self, message: str, *, flow_instance_id: str, status: str) -> None:
        super().__init__(message)
        self.flow_instance_id = flow_instance_id
        self.status = status


class EnosPollLostError(EnosError):
    """The instance could not be asked for longer than is tolerated. It was left running; a retry takes it over."""

    def __init__(self, message: str, *, flow_instance_id: str) -> None:
        super().__init__(message)
        self.flow_instance_id = flow_instance_id


class EnosEventError(EnosError):
    """A deferred task was resumed with an event that its trigger does not send."""
