"""From a network in real numbers to one in integers, and a report of what that cost."""
