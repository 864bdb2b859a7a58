"""One machine: its snapshot, and the facts and observations that rules read from it."""
