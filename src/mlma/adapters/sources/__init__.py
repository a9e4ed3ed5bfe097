"""Where forecasts and actuals come from: folders, SQL queries, topics; and clocks."""
