"""Cycles, resources and energy predicted from an image, and the arrays that would hold a network."""
