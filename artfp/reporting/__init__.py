"""Figures in one style, and pictures made of images."""
