"""Tests and bounds on plain arrays: paired, anytime-valid, sequential, homogeneity.

Numpy and scipy only. Nothing here knows what a model, a row or a database is: what comes in
are numbers per block of evidence, what goes out are estimates, bounds and e-values.
"""
