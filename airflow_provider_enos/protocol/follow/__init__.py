"""Follow flow instances to their end: waits, lists of instances, cancelling, reports, logs."""
