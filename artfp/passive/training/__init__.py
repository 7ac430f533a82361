"""Training of networks that classify images by source."""
