"""One script for each target that runs its artefact with nothing of ours: written beside it as predict.py."""
