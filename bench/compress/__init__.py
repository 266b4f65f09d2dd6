"""What compression is worth: simulations, real models beside their peers, compiled forms."""
