"""The local stack as a Python object: `Stack(home).up()`; read `stack`, then `kafka`, `postgres`, `services`."""

from cli.stack.errors import StackError
from cli.stack.names import SERVICES
from cli.stack.paths import default_home
from cli.stack.settings import StackSettings
from cli.stack.stack import ProcessStatus, Stack

__all__ = ["SERVICES", "ProcessStatus", "Stack", "StackError", "StackSettings", "default_home"]
