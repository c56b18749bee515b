"""Coverage-guided fuzzing of the core: `python -m fuzz TARGET`, or `make fuzz SECONDS=60` for all targets."""
