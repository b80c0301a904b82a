"""The durable stores: a lane's journal, the house's archive and ledger."""
