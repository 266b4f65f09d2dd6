"""Floor 10: a thin skin. It parses, calls the face, and prints; exit codes live here."""
