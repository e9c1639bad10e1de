"""`InputExample`: texts with a label, as evaluators read them."""

from __future__ import annotations


class InputExample:
    """Some texts that belong together, with what is known of them.

    Attributes:
        guid: a name of the example.
        texts: the texts.
        label: what is known: a class, or how similar the texts are.
    """

    def __init__(self, guid: str = "", texts: list[str] | None = None, label: int | float = 0) -> None:
        self.guid = guid
        self.texts = texts
        self.label = label

    def __str__(self) -> str:
        return f"<InputExample> label: {self.label}, texts: {'; '.join(self.texts or [])}"
