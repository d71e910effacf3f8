"""Requests to other servers: submissions to a grading server, and notifications of a job's end."""
