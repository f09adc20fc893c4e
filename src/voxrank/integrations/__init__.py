"""Integrations with other tools: MLflow, and a script that fine-tunes."""
