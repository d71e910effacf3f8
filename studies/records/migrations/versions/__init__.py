"""In order; each is frozen once it has landed."""
