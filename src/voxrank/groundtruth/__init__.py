"""Fine-tuning, the ground truth that scores are judged by."""
