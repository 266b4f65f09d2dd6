"""What updates cost, and what they are worth."""
