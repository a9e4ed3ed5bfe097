"""Routes of the HTTP interface, a module per noun."""
