"""How often a judge errs, measured on answers that people have labelled."""
