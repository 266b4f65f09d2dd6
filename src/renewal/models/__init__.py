"""One adapter a framework, the tasks they serve, and the runtimes that answer.

This room turns estimators into bytes and bytes into something that predicts, and knows what
a label, a score and a loss are. It must not know where rows come from, which version is
live, or who asks.
"""
