"""Models, versions, aliases, verdicts and plans, in one SQL database.

A name points at a digest here, and the pointer moves by compare-and-swap, in one
transaction with the event that says who moved it and why. The room knows manifests and
verdicts, never an estimator, a row or a server.
"""
