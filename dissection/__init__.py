"""Network dissection: what the units of a network respond to.

``similarity`` scores units against concepts, ``probing`` and ``encoders`` give the tables that are
scored, ``labelling`` chooses labels and says how sure they are, ``labels`` counts, compares and
records them, ``evidence`` and ``report`` use them; ``dissecting`` is the whole job.
"""
