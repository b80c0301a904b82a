"""The house's watch over its lanes."""
