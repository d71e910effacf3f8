"""The report's charts and pictures."""
