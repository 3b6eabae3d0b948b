"""All errors that this package raises.

::

    EnosError
    ├── EnosConfigError (ValueError)     the connection or an argument cannot work        final
    ├── EnosTransportError               no reply; ``sent``: whether the request may have arrived
    │   └── EnosSetupError               a CA file or the address of a proxy cannot be used on this machine
    ├── EnosReplyError                   a reply that EnOS does not document
    ├── EnosApiError                     EnOS or its gateway refused; code, message, request id
    │   ├── EnosAuthError                access key, secret key, signature or clock        final
    │   │   └── EnosTokenError           the access token is not valid any more (it is renewed automatically)
    │   ├── EnosAccessError              user, organisation, privilege, lock, address      final
    │   ├── EnosRequestError             the request is malformed, or its object does not exist
    │   │   └── EnosNotFoundError        the flow, instance, node or log is not there
    │   ├── EnosRateLimitError           over the API's quota; ``retry_after``
    │   └── EnosServerError              a fault of EnOS or of its gateway
    ├── EnosTriggerError                 the flow was not started
    │   ├── EnosTriggerTargetError       the flow or the task node does not exist          final
    │   ├── EnosTriggerConflictError     the minute is taken
    │   └── EnosTriggerUncertainError    it may have been started; the next try looks first
    ├── EnosFlowError                    the instance did not succeed
    │   ├── EnosFlowFailedError
    │   ├── EnosFlowCancelledError
    │   └── EnosFlowTimeoutError         it did not end in time
    ├── EnosCancelError                  not cancelled: the instance had already ended     final
    ├── EnosPollLostError                EnOS was out of reach for too long; the instance runs on
    └── EnosEventError                   a deferred task was resumed with an unknown event

"final": a retry cannot help, so operators and sensors raise ``AirflowFailException`` from it and Airflow does not
retry. The constructors of operators and sensors raise ``utils.task_arguments.EnosArgumentError``, which is an
``EnosConfigError`` and an ``AirflowFailException``. While a task waits for an instance, no error is final: the wait
tolerates errors of keys, rights and connection for ``poll_error_tolerance`` like any other, and then raises an error
that may be retried. Messages and attributes never hold the secret key or a token.
"""

from __future__ import annotations

from typing import Any, ClassVar


class EnosError(Exception):
    """The base class of all errors of this package."""

    final: ClassVar[bool] = False
    """Whether a retry cannot help."""
    sent: bool = True
    """False if the request surely never reached EnOS, so that it had no effect."""
    repeated: bool = False
    """Whether the request was sent again after a refusal, while EnOS may have carried out the first copy."""

    def __reduce__(self) -> tuple[Any, ...]:
        # The default would call the class with the message alone.
        return _restore, (type(self), self.args, self.__dict__)


def to_json(error: EnosError) -> dict[str, Any]:
    """Return ``error`` as JSON, for the event of a trigger. ``from_json`` restores it."""
    attributes = {name: list(value) if isinstance(value, tuple) else value for name, value in vars(error).items()}
    return {"class": type(error).__name__, "message": str(error), "attributes": attributes}


def from_json(data: object) -> EnosError:
    """Return the error that ``to_json`` was given. Raises ``EnosEventError`` for any other ``data``."""
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
    """The connection or an argument cannot work. The message names the field, its value and what is accepted."""

    final = True

    def __init__(self, field: str, problem: str, *, accepted: str) -> None:
        super().__init__(f"{field}: {problem}; expected {accepted}")
        self.field = field


class EnosTransportError(EnosError):
    """No reply came. ``sent``: whether the request may have arrived. ``tls``: whether a TLS check failed."""

    def __init__(self, message: str, *, sent: bool, tls: bool = False) -> None:
        super().__init__(message)
        self.sent = sent
        self.tls = tls


class EnosSetupError(EnosTransportError):
    """A CA file or the address of a proxy cannot be used on this machine, so nothing was sent.

    ``setting``: the field of the connection or the environment variable to look at. Not final: a mounted file may come
    back, and another worker may be set up right. The client does not repeat the call: a short pause does not help.
    """

    def __init__(self, message: str, *, setting: str, tls: bool = False) -> None:
        super().__init__(message, sent=False, tls=tls)
        self.setting = setting


class EnosReplyError(EnosError):
    """A reply came that EnOS does not document."""

    def __init__(self, message: str, *, http_status: int | None = None) -> None:
        super().__init__(message)
        self.http_status = http_status


class EnosApiError(EnosError):
    """EnOS or its gateway refused the request.

    ``code``: the code of the reply, or the HTTP status if the reply has none. ``api_message``: its text.
    ``request_id``: the id that EnOS support asks for.
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
    """The access token is not valid any more. It is renewed once before this is raised."""

    final = False


class EnosAccessError(EnosApiError):
    """The user, the organisation, a privilege, a lock or the caller's address does not allow it."""

    final = True


class EnosRequestError(EnosApiError):
    """The request is malformed, its object does not exist, or it breaks a rule of EnOS."""


class EnosNotFoundError(EnosRequestError):
    """The flow, instance, node or log does not exist."""


class EnosRateLimitError(EnosApiError):
    """Over the API's quota. ``retry_after``: seconds that the gateway asks to wait, or None."""

    retry_after: float | None = None


class EnosServerError(EnosApiError):
    """A fault of EnOS or of its gateway. The request may have been carried out."""


class EnosTriggerError(EnosError):
    """The flow was not started, or it is not known whether it was."""


class EnosTriggerTargetError(EnosTriggerError):
    """The flow or the task node does not exist."""

    final = True


class EnosTriggerConflictError(EnosTriggerError):
    """The flow already has an instance for this minute."""


class EnosTriggerUncertainError(EnosTriggerError):
    """The reply to a trigger was lost, and no instance can be seen. It may have been started all the same.

    ``flow_instance_id``: the id that the instance would have. A retry of the task looks for it first.
    """

    def __init__(self, message: str, *, flow_instance_id: str) -> None:
        super().__init__(message)
        self.flow_instance_id = flow_instance_id


class EnosFlowError(EnosError):
    """A flow instance did not succeed. ``status``: its status, as EnOS names it.

    ``reason``: one short line that says why, such as ``node load failed: disk is full``; empty if nothing is known.
    """

    def __init__(
        self,
        message: str,
        *,
        flow_instance_id: str,
        status: str,
        failed_tasks: tuple[str, ...] = (),
        reason: str = "",
    ) -> None:
        super().__init__(message)
        self.flow_instance_id = flow_instance_id
        self.status = status
        self.failed_tasks = failed_tasks
        self.reason = reason


class EnosFlowFailedError(EnosFlowError):
    """The instance failed, timed out in EnOS, or hit an internal error."""


class EnosFlowCancelledError(EnosFlowError):
    """The instance was cancelled."""


class EnosFlowTimeoutError(EnosFlowError):
    """The instance had not ended when its time was up."""


class EnosCancelError(EnosError):
    """An instance was to be cancelled and had already ended. ``status``: its status, as EnOS names it."""

    final = True

    def __init__(self, message: str, *, flow_instance_id: str, status: str) -> None:
        super().__init__(message)
        self.flow_instance_id = flow_instance_id
        self.status = status


class EnosPollLostError(EnosError):
    """EnOS was out of reach for longer than is tolerated. The instance runs on; a retry takes it over."""

    def __init__(self, message: str, *, flow_instance_id: str) -> None:
        super().__init__(message)
        self.flow_instance_id = flow_instance_id


class EnosEventError(EnosError):
    """A deferred task was resumed with an event that its trigger does not send."""
