"""Studies: methods and plain scaling under one budget, as a graph of cached stages that one YAML file describes."""
