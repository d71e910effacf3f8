"""Explain an image classifier: from an image to a heat map, superpixels and a mask.

- ``images``: photographs from files and arrays, geometry, overlays
- ``classifiers``: modules, torchvision's by name, the user's own, black boxes
- ``engines``: faster ways to the same predictions
- ``lime``: parameters, superpixels, cached predictions, explanations equal to stock lime's
- ``cam``: class activation maps
- ``references``: reference masks from activation maps, or from the user's files
- ``metrics``: measures of explanations

Each folder's ``__init__.pyi`` lists its public names, which are imported from the folder and loaded
when they are used; modules in it are private to it. No Optuna, no database, no HTTP.
"""
