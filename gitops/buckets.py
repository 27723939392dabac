"""The classes of answers' times: known to whoever counts, and to who reads `gitops.yaml`."""

# Upper bounds, in seconds, of what servers tell apart of an answer's time.
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
