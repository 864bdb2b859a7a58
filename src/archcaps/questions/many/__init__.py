"""Verdicts for many machines at once: the rules read as bit planes, one row for each host with each guest."""
