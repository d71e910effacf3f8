"""Commands that search: tune, worker, quickstart, portfolio."""
