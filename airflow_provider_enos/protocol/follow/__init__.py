"""Following flow instances to their end: waits, lists, reports."""
