"""Networks of others: NIR and Lava's NetX files, the frameworks that write NIR, and BrainPy."""
