"""Commands that show, write or compare results."""
