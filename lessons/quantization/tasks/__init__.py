"""The tasks of the lesson: for each section one with an idea or a figure, and one by hand."""

from lessons.quantization.tasks import by_hand, on_figures

TASKS = {task.name: task for task in (*on_figures.TASKS, *by_hand.TASKS)}
"""By name, in the order of the lesson."""
