"""Sensors that wait for EnOS flow instances."""
