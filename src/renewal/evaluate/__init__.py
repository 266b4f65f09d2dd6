"""What two versions do on the same unseen rows: scores, losses by block, metrics; a Report.

It measures and never decides: it must not know what the gate will make of its report.
"""
