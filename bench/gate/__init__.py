"""What the gate's verdicts are worth: simulations and real data."""
