"""An Optuna study: its trials as jobs, and its page in MLflow."""
