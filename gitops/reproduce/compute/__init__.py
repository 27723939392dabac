"""Builds on other machines: submitted, waited for, proven. The job's own side is `job`."""
