"""Who may do what: policy, signed tokens, the gate, leases, freezes, roster and pairing."""
