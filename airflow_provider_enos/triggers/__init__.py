"""Triggers: waits in the triggerer."""
