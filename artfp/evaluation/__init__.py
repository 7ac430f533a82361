"""Figures: how faithful fingerprinted images are and how well they read."""
