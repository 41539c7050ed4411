"""How parameters are found: MC-EM, Laplace, NUTS, SMC, variational inference, and what they share.

A program is read once (:mod:`bayescg.infer.program`); every method then is a pair of pure functions or a run
with ``run(key)``, which ends in a :class:`bayescg.infer.fit.Fit`.
"""
