"""What people see of a replay: a page, a table in the terminal, a fragment in a notebook."""
