"""fix: the smallest set of changes after which a guest is told the truth and is safe, proven smallest.

`changes` says what one change is, `hosts` and `guests` which there are, `flags` which bits; `worlds` evaluates every
set of bits at once, `search` goes through them by cost; `question` asks and answers.
"""
