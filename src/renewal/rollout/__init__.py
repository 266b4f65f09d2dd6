"""Floor 7: the steps of a rollout, as a pure machine that makes a plan of the traffic.

It decides who answers; it must not know who serves (`serve` obeys the plan), who judged
(`gate` hands in a verdict's id), nor what time it is (every event carries its instant).
"""
