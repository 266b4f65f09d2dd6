"""Rules over a report: accept, reject or undecided, within an error that was fixed before.

Pure but for the ledger and for writing a card. It reads reports and must not know how rows were
chosen, how models are trained or how traffic is routed.
"""
