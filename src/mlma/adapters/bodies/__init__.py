"""Bodies that were pushed: JSON, NDJSON, CSV, Arrow and Parquet become checked rows."""
