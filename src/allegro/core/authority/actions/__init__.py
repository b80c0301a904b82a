"""Actions in canonical form, a module for each family."""
