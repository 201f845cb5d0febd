"""`sca turn` and its subcommands."""
