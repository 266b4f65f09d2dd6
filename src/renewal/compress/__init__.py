"""The smallest model that still holds the line: prune, quantize, distil, factorize, certify."""
