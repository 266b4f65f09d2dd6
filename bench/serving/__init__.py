"""What is claimed about serving: throughput, batches, the log, swaps, rollback, and peers."""
