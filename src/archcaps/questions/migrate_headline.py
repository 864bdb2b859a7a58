"""The headline and the exit code of `migrate`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from archcaps.questions.migrate_features import FeatureMove
from archcaps.questions.migrate_results import Accepts, BorderMove, LayerAnswer, VerdictMove

__all__ = ["exit_code", "headline"]

#: Up to so many bits are named.
_NAMED: Final = 4


def exit_code(
    accepts: Accepts,
    moves: Sequence[VerdictMove],
    border: Sequence[BorderMove],
    features: FeatureMove,
    *,
    notices: bool,
) -> int:
    """Return 4 refused; 3 facts are missing; 2 newly exposed; 1 something is not true any more; 0 none of these."""
    if accepts == "no":
        return 4
    newly = [*(each.newly_exposed for each in moves), *(each.newly_exposed for each in border)]
    if accepts != "unknown" and True in newly:
        return 2
    if accepts == "unknown" or None in newly or any(each.undecided for each in moves):
        return 3
    if accepts == "changes" or notices or any(each.worse for each in moves):
        return 1
    return 3 if features.unknown or features.more else 0


def headline(
    accepts: Accepts,
    layers: Sequence[LayerAnswer],
    moves: Sequence[VerdictMove],
    border: Sequence[BorderMove],
    features: FeatureMove,
    *,
    same_place: bool,
) -> str:
    """Return a few sentences: whether it is taken, what gets worse by it, what is mended."""
    if same_place:
        return "ACCEPTED, and nothing changes: it is the same host."
    sentences = [_taken(accepts, layers)]
    newly = [each.subject for each in moves if each.newly_exposed]
    data_of_host = [each.vulnerability for each in border if each.newly_exposed]
    lies = [each.subject for each in moves if each.worse and each.subject not in newly]
    cured = [each.subject for each in moves if each.cured]
    unclear = [each.subject for each in moves if each.undecided]
    would = "would be " if accepts in ("no", "unknown") else ""
    if newly:
        sentences.append(f"{would}newly exposed: {', '.join(newly)}".capitalize())
    if data_of_host:
        leaks = "could" if would else "can"
        sentences.append(f"Data of the host {leaks} leak to the guest there: {', '.join(data_of_host)}")
    if lies:
        truth = "The guest would believe" if would else "The guest believes"
        sentences.append(f"{truth} what is not so there: {', '.join(lies)}")
    if cured:
        sentences.append(f"Better there: {', '.join(cured)}")
    if unclear:
        sentences.append(f"Facts are missing on {', '.join(unclear)}")
    if not (newly or data_of_host or lies or unclear):
        sentences.append("Nothing would get worse" if would else "Nothing gets worse for the guest")
    if said := _not_known_of(features):
        sentences.append(f"Not known of {said}")
    return ". ".join(sentences) + "."


def _not_known_of(features: FeatureMove) -> str:
    """Return of how much of the guest's CPU it is not known whether it is the same there."""
    count = features.unknown
    counted = f"{count} {'feature' if count == 1 else 'features'} of its CPU" if count else ""
    return " and ".join(filter(None, (counted, features.more)))


def _taken(accepts: Accepts, layers: Sequence[LayerAnswer]) -> str:
    """Return the first sentence: who takes the guest, or who does not and for which bits."""
    deciding = next((layer for layer in layers if layer.accepts == accepts), layers[-1])
    named, more = deciding.bits[:_NAMED], len(deciding.bits) - _NAMED
    bits = f" ({', '.join(named)}{f' and {more} more bits' if more > 0 else ''})" if named else ""
    match accepts:
        case "no":
            return f"REFUSED by {deciding.layer}{bits}"
        case "unknown":
            return f"UNDECIDED whether {deciding.layer} takes it{bits}"
        case "changes":
            return f"ACCEPTED, but the guest is shown something else there{bits}"
        case _:
            return "ACCEPTED"
