"""What ``--help`` shows, and a shell's completion."""

from tuner.cli.help.panels import HelpCommand, write_options

__all__ = ["HelpCommand", "write_options"]
