"""From an assigned release to answers: this machine runs what an environment's branch says."""
