"""What the studies say: a module and a template a finding, their figures and their statistics."""
