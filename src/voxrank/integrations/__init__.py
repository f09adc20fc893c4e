"""Other tools that a ranking is handed to: MLflow, and a script that fine-tunes."""
