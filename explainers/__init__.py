"""Image and classifier in; heat map, superpixels and mask out.

This room knows no Optuna, no database and no HTTP.
"""
