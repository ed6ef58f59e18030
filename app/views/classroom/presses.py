"""The buttons of the teacher's desk: what can be pressed now."""

from __future__ import annotations

from dataclasses import dataclass

from app.addresses import address
from app.classroom.flow import NEXT, Action, Phase
from app.classroom.states import Line, Shown
from app.classroom.timing import CLOSING
from app.views.classroom.desk import VOTED, Desk
from lessons.kit.language import gettext as _
from lessons.kit.language import ngettext


@dataclass(frozen=True, slots=True)
class Press:
    """A button of the desk.

    `value` is what the form sends. `key` is the key of the keyboard as `aria-keyshortcuts` names it, and
    `cap` the same as it is printed. With an `href` it is a link.
    """

    value: str
    label: str
    key: str = ""
    cap: str = ""
    href: str = ""
    sure: str = ""
    """The word on the button that confirms; "" for a press that is done at once."""
    asks: str = ""


def line_press(desk: Desk, line: Line) -> Press | None:
    """What can be done with a line that is not shown."""
    if desk.ended or (desk.shown and line.id == desk.shown.id) or desk.is_busy:
        return None
    if line.kind == "question" and line.phase in (Phase.WAITING, Phase.WITHDRAWN):
        return Press(f"ask:{line.id}", _("Ask"))
    return Press(f"show:{line.id}", _("Show"))


def changes(desk: Desk, line: Line) -> list[Press]:
    """What can be done with a line when the running order is changed."""
    first, last = desk.state.order[0], desk.state.order[-1]
    changes = [] if line is first else [Press(f"up:{line.id}", _("Move up"), cap="↑")]
    changes += [] if line is last else [Press(f"down:{line.id}", _("Move down"), cap="↓")]
    if line.kind == "question" and line.phase in (Phase.WAITING, Phase.VOTING_1, Phase.CLOSED_1):
        do, label = ("once", _("Ask once")) if line.twice else ("twice", _("Ask twice"))
        changes.append(Press(f"{do}:{line.id}", label, cap="•" if line.twice else "••"))
    if line.phase is Phase.WAITING:
        changes.append(Press(f"remove:{line.id}", _("Remove"), cap="×"))
    return changes


def large(desk: Desk) -> Press:
    """The one obvious next action."""
    if desk.ended:
        return Press(
            "", _("See how the questions went"), href=address("desk analysis", desk.state.common.code)
        )
    shown = desk.shown
    if shown and shown.kind == "question":
        if shown.phase in VOTED:
            return _of_vote(desk, shown)
        if shown.phase is Phase.WAITING:
            return Press("ask", _("Ask question %(number)s", number=shown.number))
        if shown.phase is Phase.REVEALED and shown.step < desk.last_step:
            return Press("step:on", _next_beat(desk, shown))
    return _of_next(desk)


def _next_beat(desk: Desk, shown: Shown) -> str:
    guesses = desk.state.common.guesses
    if shown.step > 1:
        return _("Show who moved")
    if desk.reveal and guesses and desk.reveal.is_small:
        dots = max(len(guesses.of(1)), len(guesses.of(2)))
        return ngettext("Show the dot", "Show the %(count)s dots", dots) % {"count": dots}
    return _("Show the second vote")


def _of_vote(desk: Desk, shown: Shown) -> Press:
    second = shown.phase in (Phase.VOTING_2, Phase.CLOSED_2)
    if shown.phase in (Phase.VOTING_1, Phase.VOTING_2):
        label = _("Close the second vote") if second else _("Close the first vote")
        return Press("close", label if shown.twice else _("Close the vote"))
    if shown.phase is Phase.CLOSED_1 and not desk.state.common.voted:
        return Press("reopen", _("Ask again"))
    if second or not shown.twice:
        return Press("reveal" if second else "skip", _("Reveal"))
    if shown.phase is Phase.DISCUSS:
        return Press("ask-again", _("Ask again"))
    return Press("discuss", _("Discuss"))


def _of_next(desk: Desk) -> Press:
    line = desk.next_line
    if line is None:
        return Press("end", _("End the class"))
    if line.kind == "question":
        return Press(f"ask:{line.id}", _("Ask question %(number)s", number=desk.number(line)))
    return Press(f"show:{line.id}", _("Next: %(title)s", title=desk.title(line)))


def then(desk: Desk) -> str:
    """What the large button says after it was pressed; "" where that is not certain."""
    shown = desk.shown
    if not shown or shown.kind != "question" or desk.ended or not shown.twice:
        return ""
    return {
        Phase.VOTING_1: _("Discuss"),
        Phase.CLOSED_1: _("Ask again") if desk.state.common.voted else "",
        Phase.DISCUSS: _("Close the second vote"),
        Phase.VOTING_2: _("Reveal"),
        Phase.CLOSED_2: _("Show the second vote"),
    }.get(shown.phase, "")


def others(desk: Desk) -> list[Press]:
    """What else can be done, beside the large button."""
    shown = desk.shown
    if desk.ended:
        return [Press("open", _("Open the class again"))]
    if shown is None:
        return []
    if shown.kind == "question" and shown.phase in VOTED:
        return _beside_vote(desk, shown)
    if shown.phase is Phase.WITHDRAWN:
        return [Press("ask", _("Ask it again"))]
    if shown.kind == "question" and shown.phase is Phase.WAITING:
        return []
    first, present = (1, shown.step) if shown.kind == "question" else (0, shown.step)
    presses = [Press("step:back", _("Back"), "ArrowLeft", "←")] if present > first else []
    if present < desk.last_step:
        presses.append(Press("step:on", _("Forward"), "ArrowRight", "→"))
    return presses


def _beside_vote(desk: Desk, shown: Shown) -> list[Press]:
    presses = []
    if shown.phase.vote:
        if shown.closes_at:
            presses.append(Press("close-stop", _("Stop the countdown"), "T", "T"))
        else:
            label = _("Close in %(seconds)s s", seconds=CLOSING.seconds)
            presses.append(Press("close-in", label, "T", "T"))
    if (shown.phase, Action.REOPEN) in NEXT and large(desk).value != "reopen":
        presses.append(Press("reopen", _("Open again"), "U", "U"))
    if large(desk).value == "reopen" and shown.twice:
        presses.append(Press("discuss", _("Discuss")))
    if (shown.phase, Action.SKIP) in NEXT and large(desk).value != "skip":
        asks = _("Reveal without a second vote?") if shown.twice else _("Close the vote and reveal?")
        presses.append(Press("skip", _("Skip to the reveal"), "Shift+R", "⇧R", sure=_("Reveal"), asks=asks))
    presses.append(Press("withdraw", _("Withdraw"), "Shift+W", "⇧W"))
    return presses
