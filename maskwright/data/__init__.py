"""Pairs of images and masks from the layouts people have: found, explained, split, checked and fed to training."""
