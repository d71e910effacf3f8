"""Commands that show, write or compare what was found."""
