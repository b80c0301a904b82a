"""What an action leaves on a forge: how it is written, found again and matched."""
