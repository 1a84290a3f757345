"""Training: the step, the stages of a run, and the run with its evaluation."""
