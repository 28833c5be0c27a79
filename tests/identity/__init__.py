"""Real identity providers on loopback, and a browser of sorts that signs in through them."""
