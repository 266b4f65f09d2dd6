"""Conformance suites, shipped, so that authors of plug-ins can run them on their own.

This package knows the contracts of the rooms and no test runner: a check is a function that
returns nothing, or raises an AssertionError that says what was promised and what came.
"""
