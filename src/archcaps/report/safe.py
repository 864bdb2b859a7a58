"""An answer with every text in it made safe to show, for those who write it as a page."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from dataclasses import replace as replace_fields
from typing import Any, TypeVar, cast

import msgspec

from archcaps.safe_text import one_line

__all__ = ["safe"]

T = TypeVar("T")


def safe(answer: T, documents: tuple[type, ...] = ()) -> T:
    """Return the answer with every text as one line that a terminal obeys in nothing; the same object if it was so.

    `documents`: types whose texts have lines of their own, which stay as they are: what writes the page shows what
    else is in them.
    """
    return cast("T", _safe(answer, documents))


def _safe(value: Any, documents: tuple[type, ...]) -> Any:  # noqa: ANN401  # any part of any answer
    if type(value) is str:
        return one_line(value)
    if isinstance(value, documents):
        return value
    if isinstance(value, dict):
        found = {_safe(key, documents): _safe(item, documents) for key, item in value.items()}
        return value if len(found) == len(value) and _same(found, value) else found
    if isinstance(value, list | tuple):
        items = [_safe(item, documents) for item in value]
        return value if all(map(_is, items, value)) else type(value)(items)
    if isinstance(value, msgspec.Struct):
        changed = _changed(value, value.__struct_fields__, documents)
        return msgspec.structs.replace(value, **changed) if changed else value
    if is_dataclass(value) and not isinstance(value, type):
        changed = _changed(value, tuple(field.name for field in fields(value)), documents)
        return replace_fields(value, **changed) if changed else value
    return value


def _changed(value: object, names: tuple[str, ...], documents: tuple[type, ...]) -> dict[str, Any]:
    found = {name: _safe(getattr(value, name), documents) for name in names}
    return {name: item for name, item in found.items() if item is not getattr(value, name)}


def _same(found: dict[Any, Any], value: dict[Any, Any]) -> bool:
    return all(map(_is, found, value)) and all(map(_is, found.values(), value.values()))


def _is(one: object, other: object) -> bool:
    return one is other
