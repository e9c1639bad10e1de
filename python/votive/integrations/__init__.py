"""Classes of votive for other libraries: each module is named for its library, and imports it.

They need neither sentence-transformers nor PyTorch, unless the library itself does.
"""
