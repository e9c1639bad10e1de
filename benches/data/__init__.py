"""What is computed: texts and pairs of them, sentences in great number, and vectors."""
