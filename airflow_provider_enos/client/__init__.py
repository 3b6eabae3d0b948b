"""Drivers: they carry the bytes that the protocol decides on, and decide nothing themselves."""
