"""Floor 1: frozen records, ids, clock, errors, plug-in table. Standard library only."""
