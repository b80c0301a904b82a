"""The lane's side of the link to its house."""
