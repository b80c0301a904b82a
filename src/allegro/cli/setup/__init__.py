"""What a person does once on a machine: configure, pair, install an agent, uninstall."""
