"""Where work runs: the same function in this process or, later, in many others.

This room starts a function, waits and measures. It must not know what the function does,
nor which model it is for.
"""
