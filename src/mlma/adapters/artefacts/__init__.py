"""Model versions on disk or in an object store, and the log of what was in production when."""
