"""Models behind the port `Forecaster`."""
