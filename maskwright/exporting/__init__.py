"""A trained model as a file that runs with nothing of ours installed, certified on validation images."""

from maskwright.exporting.exporting import Export as Export
from maskwright.exporting.exporting import export as export
