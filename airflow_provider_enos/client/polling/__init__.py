"""The triggerer's one poller: its loop, the lists that answer for many, and what keeps it from asking too much."""
