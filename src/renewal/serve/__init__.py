"""Where requests are answered: slots, leases, hot swap, drain, shadow and the prediction log.

This room obeys a `renewal.core.plan.Plan`; it must not know who made it (rollout), who
judged it (gate) or who watches what it logs (monitor).
"""
