"""The lesson's computations that take minutes."""

from lessons.quantization import smollm2
from lessons.quantization.figures import sentence

JOBS = {job.name: job for job in (smollm2.JOB, sentence.JOB)}
