"""Real processes, networks and faults in one scratch folder: for demo, drill, benches and tests."""
