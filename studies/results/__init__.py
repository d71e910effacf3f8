"""What a study has found: trials, the best of them, fronts, statistics."""
