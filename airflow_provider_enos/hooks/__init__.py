"""The hook: one connection to an EnOS gateway."""
