"""Starting exactly one flow instance, whatever is lost, retried or cleared.

EnOS names an instance after the flow and the UTC minute of its trigger time, and keeps one instance per flow and
minute. So the minute is an idempotency key: the instance that a lost request would have made can be looked up.

**A fresh attempt starts one instance of its own; a retry takes over what its predecessor started, unless that ended
badly.** The tries between two clears are one lineage. Each lineage has a first minute of its own, so that nothing that
an earlier lineage started is mistaken for its own.
"""
