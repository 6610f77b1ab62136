"""Tables and figures out of evidence folders alone: what `thinresnet study pack` keeps of finished runs."""
