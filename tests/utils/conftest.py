"""A hook whose connection leads to a simulator, and XComs in memory."""

from group_fixtures import xcoms
from hook_fixtures import connect, hook, hook_for, make_environment, sim, stopping

__all__ = ["connect", "hook", "hook_for", "make_environment", "sim", "stopping", "xcoms"]
