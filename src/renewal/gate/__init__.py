"""Rules over a report: accept, reject or undecided, within an error that was fixed before.

Pure but for the ledger of looks. It reads reports and must not know how rows were chosen,
how models are trained or how traffic is routed.
"""
