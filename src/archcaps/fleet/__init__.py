"""Fleets: many hosts and guests from tables or snapshots, each different pair judged once, the verdicts joined back.

An engine reads, groups, joins and writes; the verdicts are those of `archcaps.questions.many`.
"""
