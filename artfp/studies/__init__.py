"""Whole studies: from a folder of images through embedding, training and decoding to a table."""
