"""What people use from Python: it wires the agent with its adapters (settings to wired agent)."""
