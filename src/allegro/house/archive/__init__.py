"""What lanes bring home: opened, compared, and trusted only so far."""
