"""What a cell needs before it is attacked: data, content keys, trained and fitted models, all kept as artifacts."""
