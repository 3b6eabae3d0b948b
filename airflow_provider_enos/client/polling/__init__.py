"""The triggerer's poller: its loop, the lists that replace single looks, and the limits of what it asks."""
