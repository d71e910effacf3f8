"""Network dissection: what the units of a network respond to.

``similarity`` scores units against concepts, ``probing`` computes the tables that are scored,
``labelling`` chooses labels and their significance, ``labels`` counts, compares and records them,
``evidence`` and ``report`` use them; ``dissecting`` runs all of it.
"""
