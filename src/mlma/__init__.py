"""Machine Learning Monitoring Agent."""
