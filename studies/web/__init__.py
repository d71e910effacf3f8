"""The HTTP servers: the grading server, the service, and the parts that they share."""
