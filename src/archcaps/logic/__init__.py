"""The graph of rules and its interpretations. Knows nothing of CPUs."""
