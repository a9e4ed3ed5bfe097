"""The service: settings become a wired agent with its store, sources, clock and threads."""
