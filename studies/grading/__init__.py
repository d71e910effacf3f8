"""A grading server: strangers' parameters are explained with stock lime and compared with masks.

One room a step: :mod:`tokens` says who it is, :mod:`limits` what may be asked, :mod:`evaluations`
waits for a free :mod:`slot`, whose process (:mod:`evaluator_process`) runs :mod:`evaluator` on the
:mod:`exam`, and :mod:`board` shows what came out. :mod:`app` is the protocol.
"""
