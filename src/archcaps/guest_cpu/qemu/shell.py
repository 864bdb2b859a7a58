"""A shell script as its simple commands, each word with its place: read in one pass, and nothing of it is run.

Variables that the text itself sets are put in, arrays too; one that it does not set, sets under a condition or gets
from a command is marked as missing in the word that it stands in. Here-documents, redirections and comments are
passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from archcaps.errors import InputError

__all__ = ["MAX_PIECES", "Command", "Word", "commands"]

#: What the variables of one text may come to, and how deep its conditions may nest.
MAX_EXPANDED: Final = 1 << 20
MAX_DEPTH: Final = 64
#: Of how many pieces a text may be made: words, quotes, brackets, blanks. A long script has some thousands.
MAX_PIECES: Final = 50_000
#: A JSON object that stands unquoted, as in ps's output, is looked for this far, and so many times.
_JSON_WINDOW: Final = 4096
_JSON_TRIES: Final = 1000

_PLAIN: Final = re.compile(r"[^\s\"'\\$`#;&|()<>^]+")
_ASSIGNMENT: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(\+?)=")
_NAME: Final = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*|[0-9@*#?$!-])")
_BRACED: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]{0,99}|[0-9@*])(\[[@*]\])?(?:(:?-)([^{}$`\"']{0,400}))?\}")
_ANY_BRACED: Final = re.compile(r"\$\{[^{}\n]{0,400}\}")
_OPERATOR: Final = re.compile(r";;|&&|\|\||[;&|()]")
_REDIRECTION: Final = re.compile(r"(?:&>>?|[<>]{1,2}&?-?|>\|)[ \t]*")
_HERE: Final = re.compile(r"<<(-?)[ \t]*([\"']?)([A-Za-z0-9_.-]{1,80})\2")
_SPACE: Final = re.compile(r"\s+")
_BLANKS: Final = re.compile(r"[^\S\n]+")
_BLANK_LINES: Final = re.compile(r"(?:[^\S\n]*\n)*")
_OPTION_LINE: Final = re.compile(r"[ \t]*--?[A-Za-z]")
_IN_QUOTES: Final = re.compile(r'[^"\\$`]+')
_BRACKETS: Final = re.compile(r"[()]")
#: A JSON object whose parts hold no blanks.
_JSON: Final = re.compile(r"\{\"[^\s]*\}(?=\s|\Z)")
_OPENS: Final = frozenset(("if", "for", "while", "until", "select", "case"))
_TURNS: Final = frozenset(("elif", "else"))
_CLOSES: Final = frozenset(("fi", "done", "esac"))
#: Words that stand before a command and are none.
_KEYWORDS: Final = frozenset((*_OPENS, *_TURNS, *_CLOSES, "then", "do", "!", "{", "}", "time"))
_DECLARES: Final = frozenset(("export", "local", "declare", "readonly", "typeset"))


@dataclass(frozen=True, slots=True)
class Word:
    """One argument, and from where to where it stands in the text.

    `missing` names a variable or command in it whose value the text does not give. `whole` is False where it is a part
    of what stands there: of a variable that holds several words.
    """

    value: str
    start: int
    end: int
    missing: str = ""
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Command:
    """The words of one simple command, without what it sets before its name."""

    words: tuple[Word, ...]


@dataclass(frozen=True, slots=True)
class _Value:
    """What a variable holds: one text, or the words of an array; `missing`: why that is not known."""

    words: tuple[Word, ...]
    array: bool = False
    missing: str = ""


@dataclass(slots=True)
class _Draft:
    """A word while it is read."""

    parts: list[str] = field(default_factory=list)
    start: int | None = None
    missing: str = ""
    whole: bool = True
    quoted: bool = False


def commands(text: str, where: str) -> Iterator[Command]:
    """Yield the simple commands of a script, or of a command line that was pasted over several lines.

    A line that starts with an option goes on with the one before it: no command is called so.

    Raises:
        InputError: a quote or a bracket is not closed, or it nests too deep; with the line.
    """
    return _Shell(text, where).commands()


class _Shell:
    """Reads a text from its start to its end."""

    def __init__(self, text: str, where: str) -> None:
        self.text = text
        self.where = where
        self.at = 0
        self.scopes: list[dict[str, _Value]] = [{}]
        self.expanded = 0
        self.pieces = 0
        self.json_tries = _JSON_TRIES
        self.words: list[Word] = []
        self.draft = _Draft()
        self.here: list[tuple[str, bool]] = []
        self.only_if = self.next_only_if = False

    # --- commands ---------------------------------------------------------------------------------------------------

    def commands(self) -> Iterator[Command]:
        while self.at < len(self.text):
            if self.step():
                yield from self.command()
        self.end_word()
        yield from self.command()

    def count(self) -> None:
        """Count one more piece."""
        self.pieces += 1
        if self.pieces > MAX_PIECES:
            what = f"more than {MAX_PIECES} words and signs: not a guest's command line"
            raise InputError(what, self.place(self.at))

    def step(self) -> bool:
        """Read the next piece; return whether a command ends there."""
        self.count()
        sign = self.text[self.at]
        if sign == "\n":
            return self.line_end()
        if (match := _BLANKS.match(self.text, self.at)) is not None:
            self.end_word()
            self.at = match.end()
        elif sign == "#" and self.draft.start is None:
            self.at = self.line_from(self.at)
        elif (match := _REDIRECTION.match(self.text, self.at)) is not None:
            self.redirection(match)
        elif (match := _OPERATOR.match(self.text, self.at)) is not None:
            return self.operator(match[0])
        else:
            self.piece()
        return False

    def line_end(self) -> bool:
        """Go on behind the end of a line; return whether it ends a command."""
        self.end_word()
        self.at = self.text.index("\n", self.at) + 1
        for name, tabs in self.here:
            self.skip_here(name, tabs=tabs)
        if self.here:
            self.here = []
        elif not self.words and (match := _BLANK_LINES.match(self.text, self.at)) is not None:
            self.at = match.end()
        return not (self.words and _OPTION_LINE.match(self.text, self.at))

    def skip_here(self, name: str, *, tabs: bool) -> None:
        while self.at < len(self.text):
            end = self.line_from(self.at)
            line = self.text[self.at : end].rstrip("\r")
            self.at = end + 1
            if (line.lstrip("\t") if tabs else line) == name:
                return

    def line_from(self, at: int) -> int:
        end = self.text.find("\n", at)
        return len(self.text) if end < 0 else end

    def redirection(self, match: re.Match[str]) -> None:
        if (here := _HERE.match(self.text, self.at)) is not None and match[0].startswith("<<"):
            self.end_word()
            self.here.append((here[3], bool(here[1])))
            self.at = here.end()
            return
        if "".join(self.draft.parts).isdigit():  # 2>&1
            self.draft = _Draft()
        self.end_word()
        self.at = match.end()
        kept, self.words = self.words, []
        while self.at < len(self.text) and self.text[self.at] not in " \t\r\n;|)" and not self.words:
            if self.text[self.at] in "&(":
                self.at += 1
            else:
                self.piece()
        self.end_word()
        self.words = kept

    def operator(self, sign: str) -> bool:
        draft = "".join(self.draft.parts)
        if sign == "(" and not self.draft.quoted and _ASSIGNMENT.fullmatch(draft):
            self.array(draft)
            return False
        self.end_word()
        self.at += len(sign)
        self.next_only_if = sign in ("&&", "||")
        return True

    def command(self) -> Iterator[Command]:
        """Take what the command that was read sets; yield it if it is more than that."""
        words, self.words = self.words, []
        only_if, self.only_if = self.only_if, self.next_only_if
        self.next_only_if = False
        at = 0
        while at < len(words) and words[at].value in _KEYWORDS:
            self.keyword(words[at].value, words[at + 1 :])
            at += 1
        words = words[at:]
        sets = len(words)
        for place, word in enumerate(words):
            if _ASSIGNMENT.match(word.value) is None and not (place == 0 and word.value in _DECLARES):
                sets = place
                break
        declares = bool(words) and words[0].value in _DECLARES
        if sets == len(words) or declares:
            for word in words:
                self.set(word, only_if=only_if)
        if sets < len(words):
            yield Command(tuple(words))

    def keyword(self, word: str, following: list[Word]) -> None:
        if word in (*_CLOSES, *_TURNS) and len(self.scopes) > 1:
            self.close()
        if word in (*_OPENS, *_TURNS):
            if len(self.scopes) > MAX_DEPTH:
                raise InputError(f"conditions nested deeper than {MAX_DEPTH}", self.place(self.at))
            self.scopes.append({})
            if word in ("for", "select") and following:
                self.scopes[-1][following[0].value] = _Value((), missing="a loop sets it")

    def close(self) -> None:
        """End a branch: what it has set holds afterwards only if it was so before."""
        for name, value in self.scopes.pop().items():
            if self.value(name) != value:
                self.scopes[-1][name] = _Value((), missing="it is set under a condition")

    def set(self, word: Word, *, only_if: bool) -> None:
        match = _ASSIGNMENT.match(word.value)
        if match is None:
            return
        value = word.value[match.end() :]
        if match[2]:
            old = self.value(match[1])
            before = old.words[0].value if old is not None and old.words and not old.array else ""
            lacks = word.missing or (old.missing if old is not None else "")
            new = _Value((Word(before + value, word.start, word.end, lacks),), missing="")
        else:
            new = _Value((Word(value, word.start, word.end, word.missing),))
        self.put(match[1], new, only_if=only_if)

    def put(self, name: str, value: _Value, *, only_if: bool) -> None:
        if only_if and self.value(name) != value:
            value = _Value((), missing="it is set under a condition")
        self.scopes[-1][name] = value

    def value(self, name: str) -> _Value | None:
        return next((scope[name] for scope in reversed(self.scopes) if name in scope), None)

    def array(self, draft: str) -> None:
        """Read ``NAME=( words )`` up to its bracket."""
        named = _ASSIGNMENT.fullmatch(draft)
        assert named is not None  # the caller has seen it
        begin = self.at
        self.at += 1
        kept, self.words, self.draft = self.words, [], _Draft()
        while self.text[self.at : self.at + 1] != ")":
            if self.at >= len(self.text):
                raise InputError("the bracket ( is not closed", self.place(begin))
            sign = self.text[self.at]
            if (match := _SPACE.match(self.text, self.at)) is not None:
                self.end_word()
                self.at = match.end()
            elif sign == "#" and self.draft.start is None:
                self.at = self.line_from(self.at)
            else:
                self.piece()
        self.end_word()
        self.at += 1
        old = self.value(named[1]) if named[2] else None
        before = old.words if old is not None and old.array else ()
        missing = old.missing if old is not None else ""
        value = _Value((*before, *self.words), array=True, missing=missing)
        self.take(sum(len(word.value) for word in value.words) if before else 0)
        self.put(named[1], value, only_if=self.only_if)
        self.words = kept

    # --- words ------------------------------------------------------------------------------------------------------

    def end_word(self) -> None:
        draft, self.draft = self.draft, _Draft()
        if draft.start is None:
            return
        value = "".join(draft.parts)
        if value.strip() or draft.quoted or draft.missing:
            self.words.append(Word(value, draft.start, self.at, draft.missing, draft.whole))

    def begin(self) -> None:
        if self.draft.start is None:
            self.draft.start = self.at

    def add(self, value: str, end: int, *, quoted: bool = False) -> None:
        self.begin()
        self.draft.parts.append(value)
        self.draft.quoted |= quoted
        self.at = end

    def piece(self) -> None:
        """Read one piece of a word."""
        self.count()
        sign = self.text[self.at]
        if sign in "\\^`" and (after := self.continued()):
            self.at = after
        elif sign == "\\":
            self.add(self.text[self.at + 1 : self.at + 2], self.at + 2)
        elif sign == "'":
            end = self.text.find("'", self.at + 1)
            if end < 0:
                raise InputError("the quote ' is not closed", self.place(self.at))
            self.add(self.text[self.at + 1 : end], end + 1, quoted=True)
        elif sign == '"':
            self.double_quoted()
        elif sign in "$`":
            self.begin()
            self.variable(quoted=False)
        elif (match := self.json() or _PLAIN.match(self.text, self.at)) is not None:
            self.add(match[0], match.end())
        else:  # a sign that means something elsewhere
            self.add(sign, self.at + 1)

    def continued(self) -> int:
        """Return where the text goes on if a line ends behind this sign, else 0 (^ and ` are Windows')."""
        for end in ("\n", "\r\n"):
            if self.text.startswith(end, self.at + 1):
                return self.at + 1 + len(end)
        return 0

    def json(self) -> re.Match[str] | None:
        """Return the JSON object that starts a word here, without quotes around it."""
        if not self.json_tries or self.draft.start is not None or self.text[self.at] != "{":
            return None
        match = _JSON.match(self.text, self.at, min(self.at + _JSON_WINDOW, len(self.text)))
        if match is None:
            self.json_tries -= 1
        return match

    def double_quoted(self) -> None:
        begin = self.at
        self.add("", self.at + 1, quoted=True)
        while (sign := self.text[self.at : self.at + 1]) != '"':
            self.count()
            if not sign:
                raise InputError('the quote " is not closed', self.place(begin))
            if sign == "\\":
                self.escaped()
            elif sign in "$`":
                self.variable(quoted=True)
            else:
                match = _IN_QUOTES.match(self.text, self.at)
                assert match is not None  # it is none of these
                self.add(match[0], match.end(), quoted=True)
        self.at += 1

    def escaped(self) -> None:
        after = self.text[self.at + 1 : self.at + 2]
        kept = after if after in ('"', "\\", "$", "`") else "" if after == "\n" else f"\\{after}"
        self.add(kept, self.at + 2, quoted=True)

    # --- variables --------------------------------------------------------------------------------------------------

    def variable(self, *, quoted: bool) -> None:
        """Read what starts with $ or `, and put its value in."""
        match = _BRACED.match(self.text, self.at) or _NAME.match(self.text, self.at)
        if match is None:
            self.unknown(quoted=quoted)
            return
        name, rest = match[1], match.groups()[1:]
        default = rest[2] if len(rest) == 3 and rest[1] else None
        value = self.value(name)
        end = match.end()
        if name in ("@", "*"):  # the script's own arguments
            self.draft.missing = self.draft.missing or f"${name}"
            self.add("", end)
        elif value is None and default is not None:
            self.put_in(default, end, quoted=quoted)
        elif value is None or value.missing or (value.words and value.words[0].missing and not value.array):
            self.draft.missing = self.draft.missing or f"${name}"
            self.add(match[0], end, quoted=quoted)
        elif value.array and len(rest) == 3 and rest[0]:
            self.spread(value.words, end)
        else:
            self.put_in(value.words[0].value if value.words else "", end, quoted=quoted)

    def unknown(self, *, quoted: bool) -> None:
        """Read $(...), `...` or an expansion that is not followed: what it gives is not known."""
        begin = self.at
        if (match := _ANY_BRACED.match(self.text, begin)) is not None:
            end = match.end()
        elif self.text.startswith("$(", begin):
            end = self.closing(begin + 1)
        elif self.text[begin] == "`":
            end = self.text.find("`", begin + 1) + 1
            if not end:
                raise InputError("the quote ` is not closed", self.place(begin))
        else:  # a mere dollar
            self.add("$", begin + 1, quoted=quoted)
            return
        self.draft.missing = self.draft.missing or self.text[begin : min(end, begin + 60)]
        self.add(self.text[begin:end], end, quoted=quoted)

    def closing(self, at: int) -> int:
        """Return the place behind the bracket that closes the one here."""
        depth = 0
        for match in _BRACKETS.finditer(self.text, at):
            depth += 1 if match[0] == "(" else -1
            if not depth:
                return match.end()
        raise InputError("the bracket ( is not closed", self.place(at))

    def put_in(self, value: str, end: int, *, quoted: bool) -> None:
        """Add a variable's text; outside of quotes blanks in it separate words."""
        self.take(len(value))
        assigned = bool(self.draft.parts) and _ASSIGNMENT.match(self.draft.parts[0]) is not None
        pieces = [value] if quoted or assigned else re.split(r"\s+", value)
        if len(pieces) == 1:
            self.add(value, end, quoted=quoted)
            return
        start = self.at
        for place, piece in enumerate(pieces):
            self.draft.start = start if self.draft.start is None else self.draft.start
            self.draft.whole = False
            self.draft.parts.append(piece)
            self.at = end
            if place < len(pieces) - 1:
                self.end_word()

    def spread(self, words: tuple[Word, ...], end: int) -> None:
        """Add an array's words, each with its place in the array; what stands beside them stays a part of a word."""
        self.take(sum(len(word.value) + 1 for word in words))
        if "".join(self.draft.parts):
            self.draft.missing = self.draft.missing or "an array beside a text"
        else:
            self.draft = _Draft()
        self.words += words
        self.at = end

    def take(self, size: int) -> None:
        self.expanded += size
        if self.expanded > MAX_EXPANDED:
            raise InputError(f"its variables come to more than {MAX_EXPANDED >> 20} MiB", self.place(self.at))

    def place(self, at: int) -> str:
        return f"{self.where}:{self.text.count(chr(10), 0, at) + 1}"
