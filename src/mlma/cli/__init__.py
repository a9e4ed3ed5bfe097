"""The command line: ``mlma``."""

from mlma.cli.app import main

__all__ = ["main"]
