"""The triggerer's poller: its loop, the lists that replace single polls, and the limits of what it asks."""
