"""Measurements: what memsync costs on real histories, beside its peers. Not part of the installed package."""
