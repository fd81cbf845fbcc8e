"""Networks in physical units, in discrete time, and their floating-point reference."""
