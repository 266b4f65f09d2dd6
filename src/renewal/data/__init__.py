"""Floor 4: feeds and what is read from them: rows, roles, key sets, forward windows, log segments.

A feed is three append-only Delta tables (rows, predictions, labels) that are joined when they
are read. This room knows what a row is, what may be done with it and who has seen it; it must
not know what a model computes, how it is judged, or who serves it.
"""
