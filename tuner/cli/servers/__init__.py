"""Commands for grading servers and the service."""
