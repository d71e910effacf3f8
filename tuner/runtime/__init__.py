"""What an explanation costs: the runtime model, and how it is measured on this machine."""
