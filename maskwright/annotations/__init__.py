"""Files that describe the objects of images: one format a file, read and written."""
