"""Commands around grading servers and the service."""
