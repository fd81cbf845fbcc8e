"""The commands of the command line. They may reach every package, late, inside a command."""
