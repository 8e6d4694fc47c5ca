"""What the studies say: a module and a template a finding, and their figures."""

from lstm_lab.runtime import import_matplotlib

import_matplotlib()  # before the modules that draw take parts of it
