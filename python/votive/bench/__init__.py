"""Experiments: systems that embed, rerank and search, compared on this machine (`votive bench`)."""
