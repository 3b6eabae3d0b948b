"""Start exactly one flow instance, whatever is lost, retried or cleared.

EnOS names an instance after the flow and the UTC minute of its trigger time, and keeps one instance per flow and
minute. So the minute is an idempotency key: the instance that a lost request may have started can be looked up.

**A fresh attempt starts one instance of its own; a retry takes over what its predecessor started, unless that ended
badly.** The first try of a task and its retries are a *round*; a clear begins the next round. Each round has a first
minute of its own, so that it never takes an instance of an earlier round for its own.

``starting`` drives the start, ``transitions`` says which step follows from which outcome, ``attempts`` has the record.
"""
