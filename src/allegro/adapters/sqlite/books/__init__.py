"""Parts of the ledger that one wing keeps for itself."""
