"""A stateful LSTM learns to draw one curve from another, by truncated backpropagation through time."""
