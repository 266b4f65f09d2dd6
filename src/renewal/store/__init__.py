"""Bytes by digest: put, get, verify, sweep; whole or not at all.

The store knows no model, no version and no database. What is live is told to it, as a set
of digests, by whoever sweeps.
"""
