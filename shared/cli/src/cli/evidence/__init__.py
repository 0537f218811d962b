"""What a person does with the ledger's evidence who holds no more than a public key."""
