"""The lesson's computations that take minutes."""

from lessons.quantization import smollm2, smollm2_sentence

JOBS = {job.name: job for job in (smollm2.JOB, smollm2_sentence.JOB)}
