"""What people do on the simulated forge, as its rules allow."""
