"""The card of a verdict: what was measured, drawn and written for people, in two forms."""
