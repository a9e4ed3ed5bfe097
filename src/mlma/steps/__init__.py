"""The steps of a cycle: pure functions from (state, input) to (state, output)."""
