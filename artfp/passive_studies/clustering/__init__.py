"""Clustering of images by source."""
