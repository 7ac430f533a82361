"""Embedding and detecting over whole data sets, through Lightning's prediction loop."""
