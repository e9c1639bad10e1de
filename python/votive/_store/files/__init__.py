"""The folder of a store, which `votive.persistence` describes, from its files up."""
