"""What is compared: embedders, rerankers and stores, the engines that they share, and the models that they read.

Nothing of an engine is imported before a peer is loaded.
"""
