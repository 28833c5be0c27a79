"""Usage between the inference path and the database: a file that a worker appends to (docs/journal.md)."""
