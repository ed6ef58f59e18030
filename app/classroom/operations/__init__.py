"""What is done in a class. Each function is one transaction's work, and leaves the commit to its caller.

`find_class`, `find_teacher` and `find_student` say who asks; the others take what they found. Whatever
changes a class first locks its row, so that of two presses at the same moment the second sees what the first
did. The time is taken after the lock, so a vote that had to wait for a closing is late.
"""

from app.classroom.operations.answers import (
    MOST_ANSWERS,
    Receipt,
    Sent,
    first_guess,
    record,
    vote,
)
from app.classroom.operations.classes import (
    LONGEST_CLASS,
    Created,
    class_of,
    create,
    default_order,
    delete_class,
    end,
    find_class,
    find_student,
    find_teacher,
    purge,
    reopen_class,
    settle_due,
)
from app.classroom.operations.order import (
    MOST_ITEMS,
    add_item,
    move_item,
    remove_item,
    running_order,
    set_twice,
)
from app.classroom.operations.presses import (
    act,
    call_all,
    close_soon,
    set_screen,
    show,
    stay_open,
    step,
    steps_of,
)
from app.classroom.operations.students import (
    Joined,
    delete_student,
    follow,
    join,
    progress,
    rename,
)

__all__ = [
    "LONGEST_CLASS",
    "MOST_ANSWERS",
    "MOST_ITEMS",
    "Created",
    "Joined",
    "Receipt",
    "Sent",
    "act",
    "add_item",
    "call_all",
    "class_of",
    "close_soon",
    "create",
    "default_order",
    "delete_class",
    "delete_student",
    "end",
    "find_class",
    "find_student",
    "find_teacher",
    "first_guess",
    "follow",
    "join",
    "move_item",
    "progress",
    "purge",
    "record",
    "remove_item",
    "rename",
    "reopen_class",
    "running_order",
    "set_screen",
    "set_twice",
    "settle_due",
    "show",
    "stay_open",
    "step",
    "steps_of",
    "vote",
]
