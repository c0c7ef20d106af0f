"""Answers as logs of Inspect (`inspect_ai`), which `inspect view` opens: one for each who answered.

log          what a log holds
judged       of a run: a log for each voice of the archive and the seeds
measured     of an evaluation: a log for each row, whose N answers to a task are its epochs
writing      as files, by Inspect's own library
"""
