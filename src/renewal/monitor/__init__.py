"""Floor 6: what watches a feed and says when something has changed, with what it costs.

It keeps exact counts over bins frozen from the training rows, and a detector over the losses
of the live version. It reads records of the feed; it must not know servers, candidates or
what anybody does about an alarm.
"""
