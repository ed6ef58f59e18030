"""The lesson's computations that take minutes."""

from lessons.quantization import bigger

JOBS = {job.name: job for job in (bigger.JOB,)}
