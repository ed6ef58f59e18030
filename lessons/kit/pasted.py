"""Numbers that were pasted: from a spreadsheet, a CSV file, or as Python, numpy, R and JSON print them.

A comma may separate numbers, thousands or decimals. A text that can be read in one way only is read; where
several readings are possible, the message asks the reader which, because a wrong guess would go unnoticed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from lessons.kit.language import gettext as _
from lessons.kit.numbers import ordinal
from lessons.kit.typed import ascii_numbers
from quant_core.files.errors import printable

MOST_FLOAT = 3.4e38
"""Beyond it a number of 32 bits is infinite."""

_NUMBER = re.compile(r"[+-]?(\d[\d_]*\.?\d*|\.\d+)([eEdD][+-]?\d+)?")
_NOT_FINITE = re.compile(r"[+-]?(nan|inf(inity)?)", re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"[+-]?(\d*|[1-9]\d{0,2}(\.\d{3})+),\d+([eE][+-]?\d+)?")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3}){1,4}(\.\d*)?([eE][+-]?\d+)?")
_SPACED_INSIDE = re.compile(r"(?<![\d.,])[1-9]\d{0,2} \d{3},\d+")

_WRAPPER = re.compile(r"(\b(np|numpy|torch|jnp|mx)\.)?\b(array|tensor|Parameter|b?float\d+|u?int\d+|c)(?=\()")
_ARGUMENT = re.compile(
    r"(, ?\s{0,99})?\b(dtype|device|requires_grad|grad_fn|size|shape|layout)\s*=\s*"
    r"(<[^>]*>|'[^']*'|\([^()]*\)|[\w.]+(\([^()]*\))?)"
)
_PANDAS_TAIL = re.compile(r"\n(Name: [^\n]*?, )?(Length: \d+, )?dtype: \w+$")
_R_COUNTER = re.compile(r"[ \t]*\[(\d+)\][ \t]+(?=\S)")
_TABLE_RULE = re.compile(r"^[ \t]*\|[ \t:|-]*-[ \t:|-]*$", re.MULTILINE)
_TABLE_ROW = re.compile(r"^[ \t]*\|(.*)\|[ \t]*$", re.MULTILINE)
_QUOTED = re.compile(r"\"([^\"\n]*)\"|(?<!\w)'([^'\n]*)'")
_QUOTED_COMMA = "\x01"
_KEY = re.compile(r"\"[^\"\n]*\"\s?:")
_LOOSE_COMMA = re.compile(r",(?=\s|$)|(?<=\s),|^,")

Point = Callable[[str], str]
"""How a comma inside of a number is taken out of it."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A piece of the text between separators, and where it stands, counted from one."""

    text: str
    line: int
    column: int

    @property
    def is_number(self) -> bool:
        return bool(_NUMBER.fullmatch(self.text) or _NOT_FINITE.fullmatch(self.text))


Row = list[Cell]


def read_pasted(text: str, most: int) -> list[float]:
    """The numbers of a text, row after row.

    A first row of names, a column or a row that counts the others, and columns without anything in them are
    left out.

    Raises
    ------
    ValueError
        Something is not a number, or can be read in two ways; the message says where, for the reader.
    """
    lines = _lines(text)
    point = _comma(lines, bracketed=bool(re.search(r"[\[({]", text)))
    rows = [row for number, line in enumerate(lines, 1) if (row := _row(line, number, point))]
    rows = _without_index(_without_empty(_without_names(rows)))
    cells = [cell for row in rows for cell in row]
    if not cells:
        raise ValueError(_("There are no numbers."))
    if len(cells) > most:
        raise ValueError(_("There are more than %(most)s numbers.", most=str(most)))
    return [_value(cell, i if len(rows) == 1 else 0) for i, cell in enumerate(cells, 1)]


# --- lines -------------------------------------------------------------------------------------------------


def _lines(text: str) -> list[str]:
    """Lines without the names, brackets and quotes around their numbers."""
    text = ascii_numbers(re.sub("[“”„«»]", '"', re.sub("\r\n?", "\n", text)))
    text = _PANDAS_TAIL.sub("", text.rstrip())
    text = _TABLE_ROW.sub(lambda row: row[1].replace("|", ";"), _TABLE_RULE.sub("", text))  # Markdown
    text = _ARGUMENT.sub("", _WRAPPER.sub("", text.replace("Parameter containing:", "")))
    if len(_KEY.findall(text)) == 1:  # of a JSON object
        text = _KEY.sub("", text)
    counters = [_R_COUNTER.match(line) for line in text.split("\n") if line.strip()]
    if counters and all(counters) and counters[0] and counters[0][1] == "1":
        text = "\n".join(_R_COUNTER.sub("", line, count=1) for line in text.split("\n"))
    text = re.sub(r"(?<=[\"']),(?=\S)|,(?=[\"'])", ", ", text)
    text = _QUOTED.sub(_unquoted, text)
    text = re.sub(
        r"(?<=[\d.])\s*[\])}]\s*,[ \t]*(?=[\[({])", "\n", text
    )  # the end of an inner list ends a row
    return re.sub(r"[\[\](){}]", " ", text).split("\n")


def _unquoted(found: re.Match[str]) -> str:
    """What stands in quotes; a comma inside of a number does not separate, and a name stays one piece."""
    inside = (found[1] if found[1] is not None else found[2]).strip()
    if _DECIMAL_COMMA.fullmatch(inside) or _THOUSANDS.fullmatch(inside):
        return inside.replace(",", _QUOTED_COMMA)
    if re.fullmatch(r"[\s\d.,;+\-eE]+", inside):
        return inside
    return re.sub(r"[\s,;]+", "_", inside)


# --- commas ------------------------------------------------------------------------------------------------


def _comma(lines: list[str], *, bracketed: bool) -> Point | None:
    """What a comma between two digits is: None where it separates, else how it is taken out of a number.

    Raises
    ------
    ValueError
        It could be several of these.
    """
    starts = [line.split() for line in lines if re.match(r"\s*[+-]?,\d", line)]
    if len(starts) > 1 or any(len(words) > 1 for words in starts):
        raise ValueError(_decimal_commas(" ".join(starts[0]), [f"0{starts[0][0].lstrip('+-')}"]))
    tokens = [token for line in lines for token in re.split(r"[\s;]+", _LOOSE_COMMA.sub(" ", line)) if token]
    quoted = [token.replace(_QUOTED_COMMA, ",") for token in tokens if _QUOTED_COMMA in token]
    tight = quoted or [token for token in tokens if re.search(r"\d,[+-]?[\d.]|^[+-]?,\d", token)]
    if not tight:
        return None
    points = any("." in token and _NUMBER.fullmatch(token) for token in tokens)
    apart = any(re.search(r"[;\t]", line.strip("; \t")) for line in lines)  # by something else than commas
    readings: list[Point | None] = []
    decimal = all(map(_DECIMAL_COMMA.fullmatch, tight))
    if decimal and (apart or not points):
        readings.append(_decimal)
    if all(map(_THOUSANDS.fullmatch, tight)):
        readings.append(_thousands)
    pairs = _look_decimal(tight, bracketed=bracketed)
    if not quoted and not pairs and (points or not (apart and readings and not bracketed)):
        readings.append(None)
        if any(map(_is_mixed, lines)):
            readings.append(_decimal)
    if len(set(readings)) == 1:
        if readings[0] is _decimal:
            _no_spaces_between_thousands(lines)
        return readings[0]
    if readings:
        doubtful = next((token for token in tight if _DECIMAL_COMMA.fullmatch(token)), tight[0])
        raise ValueError(_two_ways(doubtful, readings))
    raise ValueError(_decimal_commas(tight[0], pairs))


def _decimal_commas(given: str, pairs: list[str]) -> str:
    return _(
        "These look like decimal commas: %(given)s. Write points, %(points)s, "
        "or put semicolons between the numbers: %(apart)s.",
        given=printable(given, 24),
        points=" ".join(pair.replace(",", ".") for pair in pairs),
        apart="; ".join(pairs),
    )


def _is_mixed(line: str) -> bool:
    """Whether spaces separate the numbers of a line whose commas look like decimal marks."""
    tokens = line.split()
    return (
        len(tokens) > 1
        and not re.search(r",\s|\s,.*\d\s*,", line)
        and any(_DECIMAL_COMMA.fullmatch(token) for token in tokens)
    )


def _decimal(token: str) -> str:
    return token.replace(".", "").replace(",", ".") if "," in token else token


def _thousands(token: str) -> str:
    return token.replace(",", "")


def _look_decimal(tokens: Iterable[str], *, bracketed: bool) -> list[str]:
    """A few numbers with decimal commas, where the pieces between the commas look like parts of them.

    Whole numbers are not written with zeros in front, nor is minus zero; and hardly anybody lists a zero
    before every other number, or powers of ten in every other place. In brackets a list of whole numbers is
    more likely.
    """
    pieces = _without_counter([token.split(",") for token in tokens])
    each = [piece for parts in pieces for piece in parts]
    odd = any(re.fullmatch(r"0\d+|[+-]0", piece) for piece in each)
    pairs = []
    if all(len(parts) % 2 == 0 for parts in pieces) and len(each) > 2:
        pairs = [pair for parts in pieces for pair in zip(parts[::2], parts[1::2], strict=True)]
    zeros = [bool(re.fullmatch(r"[+-]?0?", whole) and part.isdigit()) for whole, part in pairs]
    powers = [whole.isdigit() and bool(re.fullmatch(r"\d+[eE][+-]?\d+", part)) for whole, part in pairs]
    enough = len(pairs) if bracketed else len(pairs) / 2
    if not odd and not (pairs and (sum(zeros) >= enough or all(powers))):
        return []
    first = pieces[0] if len(pieces[0]) % 2 == 0 else pieces[0][:-1]
    return [f"{whole},{part}" for whole, part in zip(first[:4:2], first[1:4:2], strict=True)]


def _without_counter(pieces: list[list[str]]) -> list[list[str]]:
    """Rows of an odd number of pieces without their first, where that numbers the rows."""
    counted = len(pieces) > 1 and all(len(parts) % 2 and parts[0].isdigit() for parts in pieces)
    if not counted:
        return pieces
    numbers = [int(parts[0]) for parts in pieces]
    counts = numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    return [parts[1:] for parts in pieces] if counts else pieces


def _no_spaces_between_thousands(lines: Iterable[str]) -> None:
    for line in lines:
        if found := _SPACED_INSIDE.search(line):
            whole = found[0].replace(" ", "").replace(",", ".")
            raise ValueError(
                _(
                    "“%(given)s” can be one number or two. Write %(whole)s, or put a semicolon between.",
                    given=found[0],
                    whole=whole,
                )
            )


def _two_ways(token: str, readings: Iterable[Point | None]) -> str:
    ways = [point(token) if point else " ".join(token.split(",")) for point in dict.fromkeys(readings)]
    return _(
        "“%(given)s” can be read as %(ways)s. Write decimals with a point, thousands without a mark, "
        "and a space between two numbers.",
        given=printable(token, 24),
        ways=_(" or as ").join(printable(way, 24) for way in ways),
    )


# --- rows --------------------------------------------------------------------------------------------------


def _row(line: str, number: int, point: Point | None) -> Row:
    separated = line.replace(",", ";") if point is None else _LOOSE_COMMA.sub(";", line)
    pieces = re.split("[;\t]", separated.strip(" ").rstrip("; \t"))
    texts = [text for piece in pieces for text in _words(piece, alone=len(pieces) == 1)]
    if not any(texts):
        return []
    texts = [text.replace(_QUOTED_COMMA, ",") for text in texts]
    return [Cell(point(text) if point else text, number, i) for i, text in enumerate(texts, 1)]


def _words(piece: str, *, alone: bool) -> list[str]:
    """The pieces between spaces; with other separators, a name of several words is one piece."""
    words = piece.split() or [""]
    return words if alone or not re.search(r"[^\W\d_]{2}", piece) else [" ".join(words)]


def _without_names(rows: list[Row]) -> list[Row]:
    """Without rows of names before the first row of numbers, and without a row that counts the columns."""
    for first, row in enumerate(rows[:3]):
        if any(cell.is_number for cell in row):
            rows = rows[first:]
            break
    if len(rows) < 2:
        return rows
    head, below = rows[0], rows[1]
    counted = head if head[0].text else head[1:]
    over = len(counted) == len(below) - 1 or (len(counted) == len(below) > 2 and not _are_whole(rows[1:]))
    return rows[1:] if over and _counts(counted) else rows


def _without_empty(rows: list[Row]) -> list[Row]:
    """Without columns in which no row has anything; of a single row, without those at its ends."""
    width = max(map(len, rows), default=0)
    filled = {i for i in range(width) if any(len(row) > i and row[i].text for row in rows)}
    if len(rows) == 1 and filled:
        filled = set(range(min(filled), max(filled) + 1))
    return [[cell for i, cell in enumerate(row) if i in filled] for row in rows]


def _without_index(rows: list[Row]) -> list[Row]:
    """Without a first column that numbers the rows, from 0, 1 or where a longer list was cut."""
    if len(rows) < 2 or len({len(row) for row in rows}) > 1 or len(rows[0]) < 2:
        return rows
    rest = [row[1:] for row in rows]
    sure = len(rows) > 2 or not _are_whole(rest)
    return rest if sure and _counts([row[0] for row in rows], anywhere=len(rows) > 2) else rows


def _counts(cells: Row, *, anywhere: bool = False) -> bool:
    if not cells or not _are_whole([cells]):
        return False
    first = int(cells[0].text)
    counted = [int(cell.text) for cell in cells] == list(range(first, first + len(cells)))
    return counted and (first in (0, 1) or (anywhere and first >= 0))


def _are_whole(rows: Iterable[Row]) -> bool:
    return all(re.fullmatch(r"[+-]?\d{1,9}", cell.text) for row in rows for cell in row)


# --- numbers -----------------------------------------------------------------------------------------------


def _value(cell: Cell, index: int) -> float:
    if re.fullmatch(r"[+-]?0\d+", cell.text):
        problem = _("“%(part)s” looks like a part of a number; write thousands without a space.")
    elif _NUMBER.fullmatch(cell.text):
        value = float(re.sub("[dD]", "e", cell.text))
        if abs(value) > MOST_FLOAT:
            raise ValueError(_at(cell, index, _("%(part)s is not finite in 32 bits.")))
        return value
    elif _NOT_FINITE.fullmatch(cell.text):
        problem = _("%(part)s is not finite.")
    elif not cell.text:
        problem = _("there is nothing between two separators.")
    elif re.fullmatch(r"\.{2,}|…", cell.text):
        problem = _("the list was shortened here; print all of it.")
    else:
        problem = _("“%(part)s” is not a number.")
    raise ValueError(_at(cell, index, problem))


def _at(cell: Cell, index: int, problem: str) -> str:
    """What is wrong, with its place: which number of a single line, else line and column."""
    if index:
        place = _("The %(ordinal)s number", ordinal=ordinal(index))
    else:
        place = _("Line %(line)s, column %(column)s", line=str(cell.line), column=str(cell.column))
    return f"{place}: {problem % {'part': printable(cell.text, 24)}}"
