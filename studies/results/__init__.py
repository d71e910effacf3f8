"""Results of studies: trials, the best of them, Pareto fronts, statistics."""
