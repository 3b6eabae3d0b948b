"""Operators that start EnOS flows."""
