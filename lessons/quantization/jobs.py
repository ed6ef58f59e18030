"""The lesson's computations that take minutes."""

from lessons.quantization import bigger, bigger_sentence

JOBS = {job.name: job for job in (bigger.JOB, bigger_sentence.JOB)}
