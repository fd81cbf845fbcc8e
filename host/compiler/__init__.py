"""From a network in integers to an image: placement, packing of synapse words, routes, and the report."""
