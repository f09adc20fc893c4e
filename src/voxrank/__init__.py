"""Which pre-trained speech model, and which layer of it, to fine-tune."""
