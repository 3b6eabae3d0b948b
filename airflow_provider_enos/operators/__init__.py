"""Operators that start EnOS flows, cancel instances, and switch schedules on and off."""
