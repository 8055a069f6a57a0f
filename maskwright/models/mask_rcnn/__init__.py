"""Mask R-CNN: anchors -> proposals -> boxes and classes -> masks; one idea a file, `model` puts them together."""
