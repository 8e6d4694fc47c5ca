"""What is learnt, from what, and how: curves and series, the model, the training step and the carry of the state.

Nothing here knows of Hydra, MLflow, Optuna or a terminal.
"""
