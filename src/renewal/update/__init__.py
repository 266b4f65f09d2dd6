"""Floor 6: the ways to make a candidate, one strategy a file, and the race between them.

This room fits estimators on the rows that may be fitted, and remembers which ones it used. It
must not know what a verdict is, where versions are kept, or who serves them.
"""
