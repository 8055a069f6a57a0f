"""One script for each target that runs its artefact with nothing of ours: copied beside it as predict.py."""
