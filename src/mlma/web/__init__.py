"""What machines see: the HTTP interface of a live agent."""
