"""Executors behind the port `Executor`."""
