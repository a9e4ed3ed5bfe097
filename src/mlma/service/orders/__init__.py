"""Orders of an engineer, looked at before they are carried out: a module per group of kinds."""
