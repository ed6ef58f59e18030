"""The tasks of the lesson: with an idea or a figure, in the workshop, and by hand."""

from lessons.quantization.tasks import by_hand, in_workshop, on_figures

TASKS = {task.name: task for task in (*on_figures.TASKS, *in_workshop.TASKS, *by_hand.TASKS)}
"""By name."""
