"""Floor 9: one policy file becomes built objects; the only place that knows all names."""
