"""The headline of `upgrade`: what changes, in five seconds."""

from __future__ import annotations

from collections.abc import Sequence

from archcaps.questions.upgrade_results import FileChange, VerdictChange, VerwChange

__all__ = ["headline"]


def headline(
    files: Sequence[FileChange], verw: Sequence[VerwChange], verdicts: Sequence[VerdictChange], *, same_kernel: bool
) -> str:
    """Return a few sentences: the worst that happens, what VERW does, who is responsible, how many files change."""
    if same_kernel:
        return "NOTHING CHANGES: it is the same kernel."
    newly = [verdict for verdict in verdicts if verdict.newly_exposed]
    worse = [verdict for verdict in verdicts if verdict.worse]
    unclear = [verdict for verdict in verdicts if verdict.undecided]
    sure = [change for change in files if change.changes]
    open_files = [change for change in files if change.changes is None]
    verdicts_stay = all(verdict.changes is False for verdict in verdicts)
    if newly:
        sentences = [f"NEWLY EXPOSED: data can leak in this guest that could not before ({_names(newly)})"]
    elif unclear and not worse:
        sentences = [f"UNDECIDED: facts are missing to tell whether it gets worse ({_names(unclear)})"]
    elif unclear:
        sentences = [f"WORSE ({_names(worse)})"]
        sentences.append(f"Facts are missing to tell whether data can leak that could not before ({_names(unclear)})")
    elif worse:
        sentences = [f"WORSE, but nothing leaks that did not before ({_names(worse)})"]
    elif verdicts_stay and not sure and not open_files:
        sentences = ["NOTHING CHANGES for this guest"]
    else:
        sentences = ["NOTHING GETS WORSE"]
    on_exit = next(change for change in verw if change.when == "on exit to user")
    if on_exit.before is True and on_exit.after is False:
        sentences.append("The guest stops running VERW on exit to user")
    elif on_exit.before is False and on_exit.after is True:
        sentences.append("The guest starts to run VERW on exit to user")
    responsible = list(dict.fromkeys(str(verdict.after.responsible) for verdict in newly or worse))
    if responsible:
        sentences.append(f"Responsible: {', '.join(responsible)}")
    if sure:
        sentences.append(f"{len(sure)} of {len(files)} files change{'s' if len(sure) == 1 else ''}")
    if open_files:
        number = "1 file whether it changes" if len(open_files) == 1 else f"{len(open_files)} files whether they change"
        sentences.append(f"Facts are missing to tell of {number}")
    return ". ".join(sentences) + "."


def _names(verdicts: Sequence[VerdictChange]) -> str:
    return ", ".join(verdict.subject for verdict in verdicts)
