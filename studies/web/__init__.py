"""What is served over HTTP: the grading server and the service, and what both are made of."""
