"""The agent: the order of the steps, live and in a replay."""
