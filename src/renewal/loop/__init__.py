"""Floor 8: triggers, the journal, and the circuit that keeps a model up to date.

It knows the rooms below and calls them in order; it does not know policy files, terminals
or HTTP.
"""
